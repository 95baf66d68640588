"""Schema of the certificate for the verifier: every field, its type and its range, without pydantic.

A rule takes a value and its location and yields a message for each violation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

FieldRule = Callable[[Any, str], Iterator[str]]


def text(pattern: str = r"(?s).*") -> FieldRule:
    """A string that matches a pattern as a whole."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            yield f"{where} is {_short(value)}, expected text like {pattern}"

    return rule


def whole(least: int, most: int = 2**64) -> FieldRule:
    """An integer in [least, most]; true and 3.0 are not."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if type(value) is not int or not least <= value <= most:
            yield f"{where} is {_short(value)}, expected an integer in [{least}, {most}]"

    return rule


def number(least: float = -1e300, most: float = 1e300) -> FieldRule:
    """A finite number in [least, most]."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if type(value) not in (int, float) or not least <= value <= most:  # so nan fails as well
            yield f"{where} is {_short(value)}, expected a number in [{least}, {most}]"

    return rule


def one_of(*values: Any) -> FieldRule:
    """Exactly one of some values, of the same type."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not any(type(value) is type(v) and value == v for v in values):
            yield f"{where} is {_short(value)}, expected one of {list(values)}"

    return rule


def optional(inner: FieldRule) -> FieldRule:
    """None, or a value that follows the inner rule."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if value is not None:
            yield from inner(value, where)

    return rule


def several(inner: FieldRule, least: int = 0, most: int | None = None) -> FieldRule:
    """A list of least to most values that all follow the inner rule."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            yield f"{where} is {_short(value)}, expected a list of {least} to {most or 'any number'}"
            return
        for position, item in enumerate(value):
            yield from inner(item, f"{where}[{position}]")

    return rule


def record(fields: dict[str, FieldRule], added: dict[str, FieldRule] | None = None) -> FieldRule:
    """An object with exactly these fields, and any of those that a later version added."""
    known = {**fields, **(added or {})}

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is {_short(value)}, expected an object"
            return
        for name in fields.keys() - value.keys():
            yield f"{where}.{name} is missing"
        for name in value.keys() - known.keys():
            yield f"{where}.{name} is not a field of the schema"
        for name in known.keys() & value.keys():
            yield from known[name](value[name], f"{where}.{name}")

    return rule


def mapping(inner: FieldRule) -> FieldRule:
    """An object of any names whose values follow the inner rule."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is {_short(value)}, expected an object"
            return
        for name, item in value.items():
            yield from inner(item, f"{where}.{name}")

    return rule


def anything(value: Any, where: str) -> Iterator[str]:
    """Any JSON value."""
    yield from ()


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _is_ball(value: Any, where: str) -> Iterator[str]:
    problems = list(_THREAT(value, where))
    yield from problems
    if not problems and (Fraction(value["eps"]) <= 0 or not value["bounds"][0] < value["bounds"][1]):
        yield f"{where} is empty: eps {value['eps']} in {value['bounds']}"


_TEXT, _COUNT, _AMOUNT, _SHARE = text(), whole(0), number(0), number(0, 1)
_DIGEST = text(r"[0-9a-f]{64}")
_EPS = text(r"(0|[1-9]\d{0,39})(/[1-9]\d{0,39})?")
_PNG = text(r"[A-Za-z0-9+/]+={0,2}")
_HEX = text(r"([0-9a-f]{2})+")
_PROPORTION = record(
    {
        "value": _SHARE,
        "count": _COUNT,
        "n": whole(1),
        "interval": several(_SHARE, 2, 2),
        "confidence": number(math.nextafter(0, 1), math.nextafter(1, 0)),
    }
)
_THREAT = record({"norm": one_of("linf", "l2", "l1"), "eps": _EPS, "bounds": several(number(), 2, 2)})
_DATA = record(
    {
        "name": _TEXT,
        "digest": _DIGEST,
        "n": whole(1),
        "image_shape": several(whole(1), 3, 3),
        "classes": several(_TEXT, 2),
        "split": _TEXT,
        "unseen": optional(one_of(True, False)),
    }
)
_ATTACK = record(
    {
        "name": _TEXT,
        "spec": mapping(anything),
        "attempted": _COUNT,
        "broken": _COUNT,
        "robust": _PROPORTION,
        "passes": _AMOUNT,
        "seconds": _AMOUNT,
    }
)
_CHECK = record(
    {
        "name": _TEXT,
        "value": number(),
        "threshold": number(),
        "passed": one_of(True, False),
        "meaning": _TEXT,
        "action": _TEXT,
    }
)
_STAGE = record(
    {
        "name": _TEXT,
        "objective": mapping(anything),
        "passes": _AMOUNT,
        "epochs_equivalent": _AMOUNT,
        "seconds": _AMOUNT,
    }
)
_PROVENANCE = record(
    {
        "created": _TEXT,
        "versions": mapping(_TEXT),
        "seeds": mapping(whole(-(2**63))),
        "recipe": optional(mapping(anything)),
        "stages": several(_STAGE),
        "passes": _AMOUNT,
        "seconds": _AMOUNT,
        "backend": record({"name": _TEXT, "reason": _TEXT}),
        "device": _TEXT,
        "deterministic": one_of(True, False),
    }
)
_HISTORY = record(
    {
        "stage": _TEXT,
        "step": _COUNT,
        "passes": _AMOUNT,
        "seconds": _AMOUNT,
        "loss": number(),
        "clean": optional(_SHARE),
        "robust": optional(_SHARE),
    },
    added={"event": _TEXT},
)
_PAIR = record(
    {
        "index": _COUNT,
        "label": _TEXT,
        "clean_prediction": _TEXT,
        "adversarial_prediction": _TEXT,
        "distance": _AMOUNT,
        "clean_png": _PNG,
        "adversarial_png": _PNG,
        "difference_png": _PNG,
    }
)
_POINT = record({"eps": _EPS, "robust": _PROPORTION})
_PROOF = record(
    {
        "method": _TEXT,
        "settings": mapping(anything),
        "points": several(record({"eps": _EPS, "certified": _PROPORTION}), 1),
        "complete": one_of(True, False),
        "compared": record({"build": _TEXT, "sessions": several(_TEXT, 1), "graphs": whole(1)}),
        "seconds": _AMOUNT,
    }
)
_ARRAY = record({"dtype": _TEXT, "shape": several(_COUNT)})
PREDICATE: FieldRule = record(
    {
        "status": one_of("ok", "unreliable"),
        "threat": _is_ball,
        "data": _DATA,
        "bracket": record({"certified": _PROPORTION, "robust": _PROPORTION, "method": optional(_TEXT)}),
        "clean": _PROPORTION,
        "verdicts": record({"certified": _COUNT, "falsified": _COUNT, "unknown": _COUNT}),
        "comparison": optional(
            record(
                {
                    "name": _TEXT,
                    "status": one_of("ok", "unreliable"),
                    "clean": _PROPORTION,
                    "robust": _PROPORTION,
                }
            )
        ),
        "attacks": several(_ATTACK),
        "classes": several(
            record({"label": _TEXT, "n": whole(1), "clean": _PROPORTION, "robust": _PROPORTION})
        ),
        "checks": several(_CHECK),
        "curve": optional(record({"attack": _TEXT, "points": several(_POINT, 1)})),
        "proof": optional(_PROOF),
        "parity": record(
            {
                "tolerance": _AMOUNT,
                "max_error": _AMOUNT,
                "batches": several(whole(1)),
                "inputs": _TEXT,
                "reference": one_of("float64", "float32"),
            }
        ),
        "evidence": record({"witnesses": _COUNT, "arrays": mapping(_ARRAY)}),
        "provenance": _PROVENANCE,
        "limits": several(_TEXT, 1),
        "bits": record({"n": whole(1), "clean_correct": _HEX, "robust_correct": _HEX, "certified": _HEX}),
        "history": several(_HISTORY),
        "gallery": several(_PAIR),
    }
)
CERTIFICATE: FieldRule = record(
    {
        "_type": one_of("https://in-toto.io/Statement/v1"),
        "predicateType": one_of("urn:harden:robustness-certificate:v1"),
        "subject": several(record({"name": _TEXT, "digest": mapping(_DIGEST)}), 2, 2),
        "predicate": PREDICATE,
        "seal": record({"sha256": _DIGEST}),
    }
)
