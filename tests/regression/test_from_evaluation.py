"""An evaluation as a check of a baseline: what is counted, what is digested, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from harden.data import Examples, Splits
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, TrustCheck, Witnesses, pgd_suite
from harden.regression.baseline_records import Setting
from harden.regression.from_evaluation import (
    attack_setting,
    check_of,
    data_setting,
    distrusted,
    threat_record,
)
from harden.threats import Linf

LABELS = torch.tensor([0, 1, 1, 0])


def evaluation(left: int = 0, fired: bool = False) -> Evaluation:
    """Four images: the last is wrong, the second broken."""
    none = torch.zeros(0)
    return Evaluation(
        threat=Linf("1/8"),
        labels=LABELS,
        predictions=torch.tensor([0, 1, 1, 1]),
        broken=torch.tensor([False, True, False, False]),
        attempts=(),
        checks=(TrustCheck("zero gradients", float(fired), 0.5, "a share", "mend it"),),
        witnesses=Witnesses(none, none, none, none, none),
        passes=0.0,
        seconds=0.0,
        broken_by=torch.tensor([-1, 0, -1, -1]),
        broken_at=torch.zeros(4, dtype=torch.int64),
        left=left,
    )


def images(n: int = 4) -> Examples:
    x = torch.linspace(0, 1, n * 4).view(n, 1, 2, 2)
    return Examples(x, torch.arange(n) % 2, ("a", "b"))


def setting(certified: bool = False) -> Setting:
    return Setting(
        threat=threat_record(Linf("1/8")),
        attacks=attack_setting("pgd", pgd_suite(3, 1), 3, 1),
        data=data_setting(images(), 0),
        seed=0,
        certified=certified,
    )


def test_masks_and_digests_are_those_of_evaluation_and_file(line_file: Path) -> None:
    content = line_file.read_bytes()
    found = check_of(evaluation(), setting(), content)
    assert found.outcomes["clean"].mask.tolist() == [True, True, True, False]
    assert found.outcomes["robust"].mask.tolist() == [True, False, True, False]
    assert found.model.file == hashlib.sha256(content).hexdigest()
    assert found.model.graph != found.model.file
    assert set(found.versions) >= {"harden", "torch", "onnxruntime", "numpy"}


def test_what_an_attack_broke_is_not_counted_as_proved(line_file: Path) -> None:
    proved = torch.tensor([True, True, False, False])
    found = check_of(evaluation(), setting(certified=True), line_file.read_bytes(), proved)
    assert found.outcomes["certified"].mask.tolist() == [True, False, False, False]


def test_a_part_is_refused_unless_it_is_taken_as_one(line_file: Path) -> None:
    content = line_file.read_bytes()
    with pytest.raises(InputError, match="an evaluation of 4 images that left 6 out; expected all images"):
        check_of(evaluation(left=6), setting(), content)
    whole = setting()
    ten = whole.model_copy(update={"data": whole.data.model_copy(update={"n": 10})})
    assert check_of(evaluation(left=6), ten, content, partly=True).setting.data.n == 4


def test_the_digest_of_the_images_is_whatever_their_order_and_that_of_the_order_is_not() -> None:
    one, other = data_setting(images(), 0), data_setting(images().take(torch.tensor([3, 1, 0, 2])), 0)
    assert (one.n, one.images, one.preprocessing) == (other.n, other.images, other.preprocessing)
    assert one.order != other.order
    scaled = [data_setting(images(), 0, (0.5,), std).preprocessing for std in ((0.5,), (0.25,))]
    assert len({one.preprocessing, *scaled}) == 3


def test_attacks_are_described_in_full() -> None:
    found = attack_setting("pgd", [Attempt("mine", pgd_suite(7, 2)[0].attack)], 7, 2)
    assert (found.suite, found.steps, found.restarts) == ("pgd", 7, 2)
    described = found.attempts["mine"]["attack"]
    assert isinstance(described, dict)
    assert (described["steps"], described["restarts"]) == (7, 2)


def test_a_threat_of_another_kind_is_refused() -> None:
    record = threat_record(Linf("8/255"))
    assert (record.norm, record.eps, record.bounds) == ("linf", "8/255", (0.0, 1.0))

    class Patch:
        name = "patch"
        eps = 1

    with pytest.raises(InputError, match="the threat patch; expected linf, l2 or l1"):
        threat_record(Patch())  # type: ignore[arg-type]  # a threat of a user's own


def test_each_trust_check_that_fired_is_a_sentence() -> None:
    assert distrusted(evaluation()) == ()
    (said,) = distrusted(evaluation(fired=True))
    assert said.startswith("the trust check zero gradients")
    assert "mend it" in said


def test_the_images_of_the_gate_have_a_setting(greys: Splits) -> None:
    assert data_setting(greys.test, 12).sample == 12
