"""Recount of every number of a certificate, from the bits, by sums and exact intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, final

import numpy as np
import numpy.typing as npt

from harden.verifier.exact_intervals import interval_agrees
from harden.verifier.findings import CERTIFICATE, CheckFinding, finding

Flags = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, slots=True)
class ImageFlags:
    """The bits, one per image: classified correctly; unbroken by every attack; proved."""

    clean: Flags
    robust: Flags
    certified: Flags


def unpack(bits: dict[str, Any]) -> ImageFlags:
    """Unpacks the certificate's bits.

    Raises:
        ValueError: their length is not n, or the padding is not zero.
    """
    n: int = bits["n"]
    flags: list[Flags] = []
    for name in ("clean_correct", "robust_correct", "certified"):
        packed = np.frombuffer(bytes.fromhex(bits[name]), dtype=np.uint8)
        if packed.size != (n + 7) // 8:
            raise ValueError(f"bits.{name} holds {8 * packed.size} bits, expected {n} and padding")
        unpacked = np.unpackbits(packed).astype(np.bool_)
        if unpacked[n:].any():
            raise ValueError(f"bits.{name} has bits beyond its {n} images")
        flags.append(unpacked[:n])
    return ImageFlags(*flags)


def recount(predicate: dict[str, Any], flags: ImageFlags) -> list[CheckFinding]:
    """Compares every count, sum and interval of a predicate with each other and with the bits."""
    shown = f"{len(flags.clean)} images"
    return [
        finding(
            "counts", CERTIFICATE, _counts(predicate, flags), f"all counts follow from the bits of {shown}"
        ),
        finding(
            "proportions",
            CERTIFICATE,
            _proportions(predicate, "predicate", len(flags.clean)),
            "values, exact intervals hold",
        ),
        finding("attacks", CERTIFICATE, _attacks(predicate, flags), "what attacks broke adds up"),
        finding("classes", CERTIFICATE, _classes(predicate, flags), "classes add up to the whole"),
        finding("proof", CERTIFICATE, _proof(predicate, flags), _proved(predicate)),
        finding(
            "status", CERTIFICATE, _status(predicate), f"status {predicate['status']} follows from the checks"
        ),
        finding(
            "curve",
            CERTIFICATE,
            _curve(predicate),
            "the curve starts at clean, never rises, passes through robust accuracy",
        ),
    ]


def _counts(predicate: dict[str, Any], flags: ImageFlags) -> Iterator[str]:
    n = predicate["data"]["n"]
    if len(flags.clean) != n:
        yield f"bits cover {len(flags.clean)} images, data.n is {n}"
    if (flags.robust & ~flags.clean).any() or (flags.certified & ~flags.robust).any():
        yield "bits are not nested: certified <= robust_correct <= clean_correct"
    bracket, verdicts = predicate["bracket"], predicate["verdicts"]
    unbroken, proved = int(flags.robust.sum()), int(flags.certified.sum())
    for where, stored, count in (
        ("clean", predicate["clean"], int(flags.clean.sum())),
        ("bracket.robust", bracket["robust"], unbroken),
        ("bracket.certified", bracket["certified"], proved),
    ):
        if (stored["count"], stored["n"]) != (count, n):
            yield f"{where} says {stored['count']} of {stored['n']}, the bits say {count} of {n}"
    expected = {"certified": proved, "falsified": n - unbroken, "unknown": unbroken - proved}
    for name, count in expected.items():
        if verdicts[name] != count:
            yield f"verdicts.{name} says {verdicts[name]}, the bits say {count}"
    comparison = predicate["comparison"]
    if comparison is not None and not comparison["clean"]["n"] == comparison["robust"]["n"] == n:
        yield f"comparison is on other images than the {n} evaluated"
    if comparison is not None and comparison["robust"]["count"] > comparison["clean"]["count"]:
        yield "comparison says more robust than clean"


def _proportions(value: Any, where: str, most: int) -> Iterator[str]:
    if isinstance(value, dict) and {"value", "count", "n", "interval", "confidence"} == value.keys():
        count, n, (low, high) = value["count"], value["n"], value["interval"]
        if n > most:  # the cost of an interval grows with n
            yield f"{where}.n says {n}, there are {most} images"
        elif count > n or value["value"] != count / n:
            yield f"{where}.value says {value['value']}, {count} of {n} is {count / n}"
        elif not interval_agrees(count, n, low, high, value["confidence"]):
            yield f"{where}.interval says [{low}, {high}], which is not exact for {count} of {n}"
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("spec", "objective", "recipe"):  # free JSON
                yield from _proportions(item, f"{where}.{name}", most)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _proportions(item, f"{where}[{position}]", most)


def _attacks(predicate: dict[str, Any], flags: ImageFlags) -> Iterator[str]:
    n, unbroken = len(flags.clean), int(flags.clean.sum())
    for attack in predicate["attacks"]:
        name = attack["name"]
        # An attempt may be made on some of the images alone, as its spec states.
        some = attack["attempted"] < unbroken and "only_first" in attack["spec"]
        if not (attack["attempted"] == unbroken or some) or attack["broken"] > attack["attempted"]:
            yield f"{name} broke {attack['broken']} of {attack['attempted']}, where {unbroken} were unbroken"
        unbroken -= attack["broken"]
        if (attack["robust"]["count"], attack["robust"]["n"]) != (unbroken, n):
            yield f"{name} leaves {attack['robust']['count']}, by its broken images it is {unbroken} of {n}"
    if unbroken != int(flags.robust.sum()):
        yield f"the attacks leave {unbroken} unbroken, the bits say {int(flags.robust.sum())}"


def _classes(predicate: dict[str, Any], flags: ImageFlags) -> Iterator[str]:
    names, classes = predicate["data"]["classes"], predicate["classes"]
    labels = [c["label"] for c in classes]
    known = set(labels)
    if len(set(names)) != len(names) or labels != [name for name in names if name in known]:
        yield "classes are not those of data.classes, each once and in order"
    for entry in classes:
        if not entry["robust"]["count"] <= entry["clean"]["count"] <= entry["n"]:
            yield f"class {entry['label']!r} counts robust <= clean <= n the wrong way round"
        if not entry["clean"]["n"] == entry["robust"]["n"] == entry["n"]:
            yield f"class {entry['label']!r} has several n"
    for field, total in (("clean", int(flags.clean.sum())), ("robust", int(flags.robust.sum()))):
        found = sum(c[field]["count"] for c in classes)
        if found != total:
            yield f"classes add up to {found} {field}, the bits say {total}"
    if sum(c["n"] for c in classes) != len(flags.clean):
        yield f"classes add up to {sum(c['n'] for c in classes)} images of {len(flags.clean)}"


def _proof(predicate: dict[str, Any], flags: ImageFlags) -> Iterator[str]:
    method, proof = predicate["bracket"]["method"], predicate["proof"]
    own, proved = Fraction(predicate["threat"]["eps"]), int(flags.certified.sum())
    points = {} if proof is None else {Fraction(p["eps"]): p["certified"] for p in proof["points"]}
    if proof is None or own not in points:
        if method is not None or proved:
            yield f"{proved} certified by {method!r} at eps {own}, where no proof was tried"
    elif method != proof["method"] or points[own]["count"] != proved:
        yield f"{proved} certified by {method!r}, the proof says {points[own]['count']}"
    shares = list(points.values())
    if any(a >= b for a, b in pairwise(points)) or len(points) != len(proof["points"] if proof else ()):
        yield "radii of the proof are not rising"
    if any(a["count"] < b["count"] for a, b in pairwise(shares)):
        yield "certified accuracy rises with the radius"
    for eps, share in points.items():
        most = _unbroken(predicate, eps)
        if share["n"] != len(flags.clean) or share["count"] > most:
            yield f"{share['count']} of {share['n']} certified at radius {eps}, where {most} are unbroken"


def _unbroken(predicate: dict[str, Any], eps: Fraction) -> int:
    """Unbroken images at the largest eps of the curve up to this one."""
    points = predicate["curve"]["points"] if predicate["curve"] is not None else []
    counts = [p["robust"]["count"] for p in points if Fraction(p["eps"]) <= eps]
    return int(min([predicate["clean"]["count"], *counts]))


def _proved(predicate: dict[str, Any]) -> str:
    """The detail on proofs where there is no problem: they are not repeated here."""
    proof = predicate["proof"]
    if proof is None:
        return "nothing is claimed as proved"
    shown = ", ".join(f"{p['certified']['count']} at radius {p['eps']}" for p in proof["points"])
    held = proof["compared"]
    return (
        f"certified as stated, and not proved again here (harden certify does): {shown}; "
        f"compared with {held['build']} ({'; '.join(held['sessions'])})"
    )


# The trust checks that version 1 requires.
_THRESHOLDS = {
    "ball and box": 0.0,
    "zero gradients": 0.05,
    "finite gradients": 0.01,
    "complete optimisation": 0.005,
    "black box beats white box": 0.01,
    "independent attacks": 0.02,
    "one step beats many": 0.005,
    "noise beats the attacks": 0.005,
    "randomised output": 0.0,
    "batch composition": 0.0,
    "softmax saturation": 0.05,
    "unstable predictions": 0.02,
    "eps zero": 0.0,
    "huge eps": 0.0,
    "non-monotone curve": 0.03,
    "logit scale": 0.05,
    "gradient fidelity": 0.1,
    "logit steps": 0.1,
    "distinct logits": 0.5,
}


def _status(predicate: dict[str, Any]) -> Iterator[str]:
    thresholds = {check["name"]: check["threshold"] for check in predicate["checks"]}
    for name, threshold in _THRESHOLDS.items():
        if thresholds.get(name) != threshold:
            yield f"the trust check {name!r} is missing, or its threshold is not {threshold}"
    for check in predicate["checks"]:
        if check["passed"] != (check["value"] <= check["threshold"]):
            yield f"{check['name']} says {check['passed']} at {check['value']} against {check['threshold']}"
    expected = "ok" if all(check["passed"] for check in predicate["checks"]) else "unreliable"
    if predicate["status"] != expected:
        yield f"status says {predicate['status']}, the trust checks say {expected}"
    parity = predicate["parity"]
    if parity["max_error"] > parity["tolerance"]:
        yield f"parity error {parity['max_error']} exceeds its tolerance {parity['tolerance']}"


def _curve(predicate: dict[str, Any]) -> Iterator[str]:
    points = predicate["curve"]["points"] if predicate["curve"] is not None else []
    eps = [Fraction(point["eps"]) for point in points]
    if any(a >= b for a, b in pairwise(eps)):
        yield f"curve.points are not by rising eps: {[point['eps'] for point in points][:8]}"
    if not points:
        return
    if eps[0] != 0 or any(point["robust"]["n"] != predicate["clean"]["n"] for point in points):
        yield "curve does not start at eps 0 on all images, or leaves some out"
    start, clean = points[0]["robust"]["count"], predicate["clean"]["count"]
    if start != clean:
        yield f"curve says {start} at eps 0, clean says {clean}"
    counts = [point["robust"]["count"] for point in points]
    if any(a < b for a, b in pairwise(counts)):
        yield "curve rises with eps, where a witness at a smaller eps is one at every larger"
    unbroken, own = predicate["bracket"]["robust"]["count"], Fraction(predicate["threat"]["eps"])
    if own not in eps or counts[eps.index(own)] != unbroken:
        yield f"curve does not pass through the bracket's {unbroken} at eps {own}"
