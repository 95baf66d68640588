"""Recount of a certificate: bits, proofs, trust checks, attacks and curve have to agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.statistics import Proportion
from harden.verifier.recount import unpack
from harden.verifier.verification import verify
from tests.verifier.artefacts import Forge


def share(count: int, n: int) -> dict[str, Any]:
    found = Proportion(count, n)
    interval = list(found.interval)
    return {"value": found.value, "count": count, "n": n, "interval": interval, "confidence": 0.95}


def point(eps: str, count: int, n: int) -> dict[str, Any]:
    return {"eps": eps, "certified": share(count, n)}


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


@pytest.mark.parametrize("n", [1, 7, 8, 9, 60])
def test_bits_are_unpacked_as_they_were_packed(n: int) -> None:
    rng = np.random.default_rng(n)
    given = {name: rng.random(n) < 0.5 for name in ("clean_correct", "robust_correct", "certified")}
    found = unpack({"n": n, **{name: np.packbits(each).tobytes().hex() for name, each in given.items()}})
    for flags, each in zip((found.clean, found.robust, found.certified), given.values(), strict=True):
        assert np.array_equal(flags, each)


@pytest.mark.parametrize(
    ("clean", "said"), [("ff", "bits beyond its 5 images"), ("", "holds 0 bits"), ("f8f8", "holds 16 bits")]
)
def test_bits_of_another_length_or_with_padding_are_refused(clean: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"bits.clean_correct .*{said}"):
        unpack({"n": 5, "clean_correct": clean, "robust_correct": "f8", "certified": "00"})


def _drop(p: dict[str, Any]) -> None:
    p["checks"] = []


def _loosen(p: dict[str, Any]) -> None:
    p["checks"][1].update(value=0.9, threshold=0.95)


def _overlook(p: dict[str, Any]) -> None:
    p["checks"][1].update(value=0.9, passed=True)


def _fewer(p: dict[str, Any]) -> None:
    p["attacks"][0]["attempted"] = p["attacks"][0]["broken"]


def _no_start(p: dict[str, Any]) -> None:
    p["curve"]["points"] = p["curve"]["points"][1:]


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (_drop, "status"),
        (_loosen, "status"),
        (_overlook, "status"),
        (_fewer, "attacks"),
        (_no_start, "curve"),
    ],
)
def test_a_resealed_forgery_breaks(
    artefact: Path, forge: Forge, edit: Callable[[dict[str, Any]], None], check: str
) -> None:
    assert verify(artefact).ok
    forge(artefact, lambda fields: edit(fields["predicate"]))
    assert check in {found.name for found in verify(artefact).checks if not found.passed}


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
        points = [{"eps": "0", "robust": share(clean, n)}]
        if more is None:
            points += [
                {"eps": eps, "robust": share(robust - 1, n)},
                {"eps": "1/10", "robust": share(robust, n)},
            ]
        else:
            points += [{"eps": eps, "robust": share(robust + more, n)}]
        p["curve"]["points"] = points

    forge(artefact, edit)
    broken = [check for check in verify(artefact).checks if not check.passed]
    assert [check.name for check in broken] == ["curve"]
    assert says in broken[0].detail
