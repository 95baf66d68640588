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
