"""Replay of evidence: margins of originals and witnesses, ties within the parity tolerance, and gallery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from harden.verifier import replay as module
from harden.verifier.findings import CheckFinding
from harden.verifier.read_evidence import Evidence
from harden.verifier.replay import replay

NAMES = ["cat", "dog"]


def replayed(
    monkeypatch: pytest.MonkeyPatch, clean: list[float], broken: list[float], **changed: Any
) -> dict[str, CheckFinding]:
    """The findings on one image labelled cat, for a file that gives these logits."""
    original, witness = (np.full((1, 1, 1, 1), value, np.float32) for value in (0.25, 0.75))
    evidence = Evidence(np.array([7]), np.array([0]), original, witness)

    @contextmanager
    def opened(model: bytes) -> Iterator[Any]:
        def run(images: Any) -> Any:
            rows = [clean if image.flat[0] <= 0.5 else broken for image in images]
            return np.array(rows, np.float32).reshape(len(images), -1)

        yield run

    monkeypatch.setattr(module, "open_in_process", opened)
    pair = {"index": 7, "clean_prediction": "cat", "adversarial_prediction": "dog"}
    predicate = {
        "data": {"classes": NAMES, "image_shape": [1, 1, 1]},
        "parity": {"tolerance": 1e-4},
        "gallery": [pair | changed],
    }
    return {found.name: found for found in replay(b"", evidence, predicate, isolated=False)}


def test_a_witness_that_breaks_the_file_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, [2.0, 1.0], [1.0, 2.0])
    assert all(each.passed for each in found.values())
    assert found["originals"].detail.startswith("1 predicted right in onnxruntime ")
    assert "tie" not in found["replay"].detail


@pytest.mark.parametrize(
    ("clean", "broken", "check", "said"),
    [
        ([1.0, 2.0], [1.0, 2.0], "originals", "image 7: its label should win, but loses by 1"),
        ([2.0, 1.0], [2.0, 1.5], "replay", "image 7: another class should win, but loses by 0.5"),
        ([np.nan, 1.0], [1.0, 2.0], "originals", "image 7: its label should win"),
    ],
)
def test_a_margin_of_the_wrong_sign_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, clean: list[float], broken: list[float], check: str, said: str
) -> None:
    found = replayed(monkeypatch, clean, broken)
    assert not found[check].passed
    assert said in found[check].detail


def test_a_margin_within_twice_the_tolerance_is_a_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    tied = replayed(monkeypatch, [1.0, 1.0 + 1.9e-4], [1.0 + 1.9e-4, 1.0])
    assert all(each.passed for each in tied.values())
    for name in ("originals", "replay"):
        assert tied[name].detail.endswith("; 1 of them by a tie within the parity tolerance")
    apart = replayed(monkeypatch, [1.0, 1.0 + 2.1e-4], [1.0 + 2.1e-4, 1.0])
    assert [apart[name].passed for name in ("originals", "replay")] == [False, False]


def test_a_tie_is_no_more_than_a_thousandth_of_the_largest_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of 1e-3 all lie within the tolerance of each other, and are no ties."""
    found = replayed(monkeypatch, [1e-3, 1.1e-3], [1e-3, 1.1e-3])
    assert not found["originals"].passed


def test_logits_that_are_no_numbers_are_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, [2.0, 1.0], [np.nan, 1.0], adversarial_prediction="not a number")
    assert all(each.passed for each in found.values())


def test_the_gallery_names_what_the_file_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, [2.0, 1.0], [1.0, 2.0], adversarial_prediction="fox")
    (wrong,) = [each for each in found.values() if not each.passed]
    assert wrong.detail == "the pair of image 7 says 'fox', the file 'dog'"


def test_logits_of_another_shape_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, [2.0, 1.0, 0.0], [1.0, 2.0, 0.0])
    assert [(each.name, each.passed) for each in found.values()] == [("replay", False)]
    assert "logits are float32 (1, 3), expected float32 (1, 2)" in found["replay"].detail
