"""A certificate within a limit of time, on a clock that forwards move: the first images, declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.artefact.time_limited_certificate import attack_share
from harden.certificate.certificate_file import read
from harden.data import Examples, load
from harden.errors import InputError
from harden.evaluation import pgd_suite
from harden.models import Classifier
from harden.models.pass_count import count
from harden.verifier.verification import verify

MakeClassifier = Callable[..., Classifier]
MakeClaim = Callable[..., Claim]


class Clock:
    """Moves by a second for each image of a forward."""

    now = 0.0

    def count(self, images: int) -> None:
        self.now += images
        count(images)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    fake = SimpleNamespace(monotonic=lambda: found.now, perf_counter=lambda: found.now)
    for module in ("time_limit", "batch_evaluation"):
        monkeypatch.setattr(f"harden.evaluation.{module}.time", fake)
    monkeypatch.setattr("harden.models.classifier.count", found.count)
    return found


@pytest.fixture
def images(make_classifier: MakeClassifier) -> Examples:
    """With the labels that the network gives them: all are right, and few are broken at once."""
    images = load("digits").test.take(torch.arange(24))
    with torch.no_grad():
        return replace(images, y=make_classifier().logits(images.x).argmax(1))


def exported(claim: Claim, model: Classifier, images: Examples, out: Path, clock: Clock) -> float:
    """Seconds of the measurements: what passes before them, at the gate, is none of theirs."""
    began: list[float] = []
    export(model, out, images, claim, on_phase=lambda phase: began.append(clock.now))
    return clock.now - began[1]


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.15])
def test_what_was_finished_is_certified_and_declared(
    make_classifier: MakeClassifier,
    make_claim: MakeClaim,
    images: Examples,
    clock: Clock,
    tmp_path: Path,
    share: float,
    compared: bool,
) -> None:
    claim = make_claim(before=make_classifier(seed=2) if compared else None)
    needed = exported(claim, make_classifier(), images, tmp_path / "whole", clock)
    seconds = share * needed
    model = make_classifier()
    taken = exported(replace(claim, minutes=seconds / 60), model, images, tmp_path / "part", clock)
    assert taken <= 1.1 * seconds + 1
    found = verify(tmp_path / "part", isolated=False)
    assert found.ok, [check for check in found.checks if not check.passed]
    said = read(tmp_path / "part").predicate
    n = said.data.n
    assert 0 < n < 24
    assert said.data.split == f"as given, the first {n} of 24 images: time was up"
    assert said.clean.n == n
    assert (tmp_path / "part" / "report.html").is_file()


def test_no_time_leaves_nothing_behind(
    make_classifier: MakeClassifier,
    make_claim: MakeClaim,
    images: Examples,
    clock: Clock,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="time for one image at least"):
        exported(replace(make_claim(), minutes=0.1), make_classifier(), images, tmp_path / "out", clock)
    assert not (tmp_path / "out").exists()


def test_attacks_leave_time_for_the_curve() -> None:
    alone, both = (attack_share(pgd_suite(), 10, compared=compared) for compared in (False, True))
    assert 0.5 < both < alone < 0.95
