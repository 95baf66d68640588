"""A proof in a certificate: consistent with all else, and said to be stated where nobody proves it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.statistics import Proportion
from harden.verifier.verification import verify

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def point(eps: str, count: int, n: int) -> dict[str, Any]:
    share = Proportion(count, n)
    interval = list(share.interval)
    certified = {"value": share.value, "count": count, "n": n, "interval": interval, "confidence": 0.95}
    return {"eps": eps, "certified": certified}


def stated(*points: dict[str, Any]) -> dict[str, Any]:
    compared = {"build": "a runtime", "sessions": ["all, 1 thread"], "graphs": 1}
    said = {"method": "CROWN", "settings": {}, "complete": True, "seconds": 1.0}
    return {**said, "points": list(points), "compared": compared}


def with_proof(fields: dict[str, Any], *counts: tuple[str, int]) -> dict[str, Any]:
    p: dict[str, Any] = fields["predicate"]
    p["proof"] = stated(*(point(eps, count, p["clean"]["n"]) for eps, count in counts))
    return p


def certify_at_eps(p: dict[str, Any], method: str | None = "CROWN") -> int:
    """Claim one unbroken image as certified, with its bits."""
    n = p["clean"]["n"]
    robust = np.unpackbits(np.frombuffer(bytes.fromhex(p["bits"]["robust_correct"]), np.uint8))
    one = np.zeros_like(robust)
    one[int(robust.argmax())] = 1
    p["bits"]["certified"] = np.packbits(one).tobytes().hex()
    p["bracket"]["certified"], p["bracket"]["method"] = point("1/10", 1, n)["certified"], method
    p["verdicts"]["certified"], p["verdicts"]["unknown"] = 1, p["verdicts"]["unknown"] - 1
    return 1


def test_a_proof_at_a_smaller_radius_is_stated(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        with_proof(fields, ("1/40", 3), ("1/20", 2))

    forge(artefact, edit)
    found = verify(artefact)
    assert [check.name for check in found.checks if not check.passed] == []
    (said,) = [check.detail for check in found.checks if check.name == "proof"]
    assert said == (
        "certified as stated, and not proved again here (harden certify does): "
        "3 at radius 1/40, 2 at radius 1/20; compared with a runtime (all, 1 thread)"
    )


def test_a_proof_at_eps_is_in_bits_bracket_and_verdicts(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        certify_at_eps(with_proof(fields, ("1/20", 2), ("1/10", 1)))

    forge(artefact, edit)
    assert [check.name for check in verify(artefact).checks if not check.passed] == []


def _without_a_record(fields: dict[str, Any]) -> None:
    certify_at_eps(fields["predicate"])


def _not_tried_there(fields: dict[str, Any]) -> None:
    certify_at_eps(with_proof(fields, ("1/20", 2)))


def _another_count(fields: dict[str, Any]) -> None:
    certify_at_eps(with_proof(fields, ("1/10", 2)))


def _another_method(fields: dict[str, Any]) -> None:
    certify_at_eps(with_proof(fields, ("1/10", 1)), "magic")


def _method_without_proof(fields: dict[str, Any]) -> None:
    fields["predicate"]["bracket"]["method"] = "CROWN"


def _rising(fields: dict[str, Any]) -> None:
    with_proof(fields, ("1/40", 1), ("1/20", 2))


def _falling_radii(fields: dict[str, Any]) -> None:
    with_proof(fields, ("1/20", 2), ("1/40", 1))


def _more_than_stand(fields: dict[str, Any]) -> None:
    with_proof(fields, ("1/40", fields["predicate"]["clean"]["count"] + 1))


def _more_than_attacks_leave(fields: dict[str, Any]) -> None:
    with_proof(fields, ("1/5", fields["predicate"]["bracket"]["robust"]["count"] + 1))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_without_a_record, "1 certified by 'CROWN' at eps 1/10, where no proof was tried"),
        (_not_tried_there, "where no proof was tried"),
        (_another_count, "the proof says 2"),
        (_another_method, "1 certified by 'magic'"),
        (_method_without_proof, "0 certified by 'CROWN' at eps 1/10"),
        (_rising, "rises with the radius"),
        (_falling_radii, "not rising"),
        (_more_than_stand, "certified at radius 1/40, where"),
        (_more_than_attacks_leave, "certified at radius 1/5, where"),
    ],
)
def test_a_proof_that_contradicts_the_rest_breaks(
    artefact: Path, forge: Forge, edit: Callable[[dict[str, Any]], None], says: str
) -> None:
    forge(artefact, edit)
    broken = [check for check in verify(artefact).checks if not check.passed]
    assert [check.name for check in broken] == ["proof"]
    assert says in broken[0].detail
