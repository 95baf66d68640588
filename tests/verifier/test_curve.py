"""A curve has to agree with the bracket of its certificate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.statistics import Proportion
from harden.verifier.verification import verify

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def _point(eps: str, count: int, n: int) -> dict[str, Any]:
    share = Proportion(count, n)
    robust = {
        "value": share.value,
        "count": count,
        "n": n,
        "interval": list(share.interval),
        "confidence": 0.95,
    }
    return {"eps": eps, "robust": robust}


@pytest.mark.parametrize(
    ("eps", "more", "says"),
    [
        ("1/10", 1, "does not pass through the bracket's"),
        ("1/5", 0, "does not pass through the bracket's"),
        ("1/20", None, "rises with eps"),
    ],
)
def test_a_curve_that_contradicts_the_bracket_breaks(
    artefact: Path, forge: Forge, eps: str, more: int | None, says: str
) -> None:
    def edit(fields: dict[str, Any]) -> None:
        p = fields["predicate"]
        n, clean, robust = p["clean"]["n"], p["clean"]["count"], p["bracket"]["robust"]["count"]
        assert robust < clean
        points = [_point("0", clean, n)]
        if more is None:
            points += [_point(eps, robust - 1, n), _point("1/10", robust, n)]
        else:
            points += [_point(eps, robust + more, n)]
        p["curve"]["points"] = points

    forge(artefact, edit)
    broken = [check for check in verify(artefact).checks if not check.passed]
    assert [check.name for check in broken] == ["curve"]
    assert says in broken[0].detail
