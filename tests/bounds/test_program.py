"""What a program of bounds is made of, and what it is not made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harden.bounds import Program, certify
from harden.errors import InputError
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import Builder, dense_net


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def refusal(net: Builder) -> str:
    with pytest.raises(InputError) as raised:
        Program.of(read(net.model()))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_operations_without_a_rule_are_all_named() -> None:
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Softmax")
    net.add("Exp")
    net.add("Mul", "v0")
    said = refusal(net)
    assert all(f"{kind} (" in said for kind in ("Softmax", "Exp", "Mul"))
    assert "evaluate the model by attacks instead" in said


def test_the_reason_of_a_refusal_is_the_one_that_holds() -> None:
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Exp")
    assert "Exp (v1: operation Exp has no bound rule)" in refusal(net)
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Mul", "v0")
    assert "its bound rule does not hold for these attributes and inputs" in refusal(net)
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Slice", ints(-1), ints(-(2**31)), ints(0), ints(-1))
    assert "the images of a batch may depend on each other" in refusal(net)


def test_a_file_that_turns_its_batch_round_is_refused() -> None:
    """Its shapes are those of any other, and a bound on image i would be about another image."""
    net = Builder((6,))
    net.dense(6, 4)
    net.add("Slice", ints(-1), ints(-(2**31)), ints(0), ints(-1))
    net.dense(4, 3)
    assert "Slice (" in refusal(net)


def test_constants_that_runtimes_round_differently_are_refused() -> None:
    net = Builder((6,))
    one = net.constant(net.normal(6, 6))
    net.add("MatMul", net.normal(6, 4), after=one)
    weight = net.last
    net.add("MatMul", weight, after="image")
    assert "each runtime rounds its own way" in refusal(net)


def test_logits_in_a_row_of_their_own() -> None:
    """An output of (N, 1, K) has the bounds of (N, K)."""
    flat, nested = dense_net(2), dense_net(2)
    nested.add("Unsqueeze", ints(1))
    x, y = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    one, other = (
        certify(Program.of(read(net.model())), x, y, Linf("1/50")).margins for net in (flat, nested)
    )
    torch.testing.assert_close(one, other)


def test_one_logit_is_refused() -> None:
    net = Builder((6,))
    net.dense(6, 1)
    x, y = torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match=r"1 logit; expected one for each class"):
        certify(Program.of(read(net.model())), x, y, Linf("0.1"))


def test_many_bounds_go_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program.of(read(dense_net(3).model()))
    x = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 4
    whole = certify(program, x, y, Linf("1/10")).margins
    monkeypatch.setattr("harden.bounds.certification.at_once", lambda program: 7)
    torch.testing.assert_close(certify(program, x, y, Linf("1/10")).margins, whole)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64), r"images \(2, 5\)"),
        (torch.zeros(2, 6), torch.zeros(3, dtype=torch.int64), "3 labels"),
        (torch.full((1, 6), torch.nan), torch.zeros(1, dtype=torch.int64), "NaN or infinity"),
        (torch.zeros(1, 6), torch.tensor([4]), "labels from 4 to 4; expected labels from 0 to 3"),
    ],
)
def test_images_and_labels_that_do_not_fit(x: torch.Tensor, y: torch.Tensor, said: str) -> None:
    program = Program.of(read(dense_net(0).model()))
    with pytest.raises(InputError, match=said):
        certify(program, x, y, Linf("0.1"))


def test_no_images_have_no_proofs() -> None:
    program = Program.of(read(dense_net(0).model()))
    found = certify(program, torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64), Linf("0.1"))
    assert found.certified.tolist() == []
