"""Replay of the evidence in the verifier's own onnxruntime, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import onnxruntime

from harden.verifier.findings import CERTIFICATE, EVIDENCE, MODEL, CheckFinding, finding
from harden.verifier.limited_runtime import CHUNK_BYTES, Run, first_line, open_in_child, open_in_process
from harden.verifier.read_evidence import Evidence

Logits = npt.NDArray[np.float32]

_LARGEST_SLACK: Final = 1e-3
"""A tie is accepted up to this share of the largest logit, which is above float32 rounding."""


def replay(
    model: bytes, evidence: Evidence, predicate: dict[str, Any], *, isolated: bool = True
) -> list[CheckFinding]:
    """Runs originals and witnesses through the file: the former must be classified correctly, the latter not.

    Two runtimes may differ by the stored parity tolerance t in each logit, so by 2 t in a margin. A
    prediction within that margin counts as a tie: it is accepted, and the number of ties is reported. The
    file runs in a child process unless `isolated` is false.
    """
    names = predicate["data"]["classes"]
    try:
        with (open_in_child if isolated else open_in_process)(model) as run:
            # Without a witness nothing else would show that the file runs at all.
            _logits(run, np.zeros((1, *predicate["data"]["image_shape"]), np.float32), len(names))
            clean = _logits(run, evidence.original, len(names))
            broken = _logits(run, evidence.witness, len(names))
    except Exception as error:  # whatever the runtime raises for a file that it cannot execute
        return [CheckFinding("replay", MODEL, False, f"the model does not run: {first_line(error)}")]
    right = _judge(clean, evidence, predicate, sign=1.0)
    wrong = _judge(broken, evidence, predicate, sign=-1.0)
    count, version = len(evidence.index), onnxruntime.__version__
    runs = f"in onnxruntime {version}"
    shown = _mismatches(clean, broken, evidence, predicate, right, wrong)
    return [
        finding("model", MODEL, (), f"takes 'image', gives 'logits' over {len(names)} classes"),
        finding("originals", EVIDENCE, right.problems, f"{count} predicted right {runs}{right.ties()}"),
        finding("replay", EVIDENCE, wrong.problems, f"{count} witnesses break the file {runs}{wrong.ties()}"),
        finding("predictions", CERTIFICATE, shown, "the gallery names what the file predicts"),
    ]


@final
@dataclass(frozen=True, slots=True)
class _MarginResult:
    problems: tuple[str, ...]
    tied: npt.NDArray[np.bool_]

    def ties(self) -> str:
        """The number of accepted ties as text; empty if there were none."""
        count = int(self.tied.sum())
        return f"; {count} of them by a tie within the parity tolerance" if count else ""


def _logits(run: Run, images: npt.NDArray[np.float32], classes: int) -> Logits:
    size = max(1, CHUNK_BYTES // max(1, images[:1].nbytes))
    found: list[Logits] = [np.zeros((0, classes), np.float32)]
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        logits = run(chunk)
        if logits.dtype != np.float32 or logits.shape != (len(chunk), classes):
            raise ValueError(
                f"logits are {logits.dtype} {logits.shape}, expected float32 {(len(chunk), classes)}"
            )
        found.append(logits)
    return np.concatenate(found)


def _judge(logits: Logits, evidence: Evidence, predicate: dict[str, Any], *, sign: float) -> _MarginResult:
    """Judges margins: sign 1 expects the label to win, sign -1 expects it to lose."""
    rows = np.arange(len(logits))
    others = logits.astype(np.float64)
    own = others[rows, evidence.label].copy()
    others[rows, evidence.label] = -np.inf
    with np.errstate(invalid="ignore"):  # infinite logits give a nan margin, which holds for nothing
        margin = sign * (own - others.max(axis=1, initial=-np.inf))
    largest = np.abs(logits).max(axis=1, initial=0.0).astype(np.float64)
    slack = np.minimum(2.0 * predicate["parity"]["tolerance"], _LARGEST_SLACK * largest)
    held = margin > 0
    if sign < 0:
        held |= ~np.isfinite(logits).all(axis=1)  # without an answer it is not correct
    tied = ~held & (margin >= -slack)
    expected = "its label" if sign > 0 else "another class"
    problems = [
        f"image {evidence.index[row]}: {expected} should win, but loses by {-margin[row]:.6g}"
        for row in np.flatnonzero(~held & ~tied)  # nan lands here
    ]
    return _MarginResult(tuple(problems), tied)


def _mismatches(
    clean: Logits,
    broken: Logits,
    evidence: Evidence,
    predicate: dict[str, Any],
    right: _MarginResult,
    wrong: _MarginResult,
) -> Iterator[str]:
    names = predicate["data"]["classes"]
    positions = {image: position for position, image in enumerate(evidence.index.tolist())}
    for pair in predicate["gallery"]:
        row = positions[pair["index"]]
        for field, logits, judged in (
            ("clean_prediction", clean, right),
            ("adversarial_prediction", broken, wrong),
        ):
            finite = bool(np.isfinite(logits[row]).all())
            predicted = names[int(logits[row].argmax())] if finite else "not a number"
            if pair[field] != predicted and not judged.tied[row]:
                yield f"the pair of image {pair['index']} says {pair[field]!r}, the file {predicted!r}"
