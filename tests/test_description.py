"""Values as JSON and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.attacks import FGSM, PGD
from harden.description import JSON, canonical, canonical_names, describe, restore
from harden.errors import InputError
from harden.losses import Margin
from harden.objectives import TRADES, AdversarialTraining
from harden.threats import L1, L2, Linf

EPS = st.fractions(0, 1)
BOUNDS = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.1, 7.3)])
POSITIVE = st.floats(1e-6, 10)
THREATS = st.one_of(
    st.builds(Linf, st.fractions(0, Fraction(1, 2))),
    st.builds(L2, EPS, BOUNDS),
    st.builds(L1, EPS, BOUNDS),
    st.builds(Linf, EPS, BOUNDS),
)
ATTACKS = st.builds(
    PGD,
    steps=st.integers(1, 100),
    step_size=st.none() | POSITIVE,
    restarts=st.integers(1, 9),
    random_start=st.booleans(),
    keep_best=st.booleans(),
    stop_early=st.booleans(),
)
OBJECTIVES = st.builds(TRADES, attack=ATTACKS.filter(lambda attack: attack.random_start), beta=POSITIVE)


def _through_json(value: object) -> JSON:
    described: JSON = json.loads(json.dumps(describe(value), allow_nan=False))
    return described


@given(st.one_of(THREATS, ATTACKS, OBJECTIVES, st.lists(THREATS | ATTACKS).map(tuple)))
def test_a_value_survives_the_trip_through_json(value: object) -> None:
    again = restore(_through_json(value))
    assert again == value
    assert repr(again) == repr(value)
    assert _through_json(again) == _through_json(value)


def test_descriptions_are_readable() -> None:
    assert describe(Linf("8/255")) == {
        "kind": "harden.threats:Linf",
        "eps": "8/255",
        "bounds": [0.0, 1.0],
    }
    assert describe(FGSM()) == {
        "kind": "harden.attacks:PGD",
        "steps": 1,
        "step_size": 1.0,
        "restarts": 1,
        "random_start": False,
        "keep_best": False,
        "stop_early": False,
    }
    assert describe({1: (Fraction(1, 3), None, True, "x", 2.5)}) == {"1": ["1/3", None, True, "x", 2.5]}


def own_attack() -> None:
    """Stands for a user's attack."""


def test_functions_and_classes_are_named_by_module_and_name() -> None:
    assert describe(Margin) == "harden.losses:Margin"
    assert str(describe(own_attack)).endswith("test_description:own_attack")
    assert describe(object()) == "builtins:object"


def test_plain_values_come_back() -> None:
    assert restore(describe({"a": [1, (2.5, None)], "b": "8/255"})) == {"a": (1, (2.5, None)), "b": "8/255"}


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "os:system", "command": "true"},
        {"kind": "hardened.evil:Value"},
        {"kind": "builtins:dict"},
        {"kind": 3},
        {"kind": None},
        {"kind": ["harden.threats:Linf"]},
        {"kind": "harden.threats"},
        {"kind": "harden.threats:"},
        {"kind": "harden.threats:Nothing"},
        {"kind": "harden.threats:from_name", "name": "linf", "eps": 0},
        {"kind": "harden.threats:Threat"},
        {"kind": "harden.errors:InputError", "seen": "", "expected": "", "instead": ""},
        {"kind": "harden.no_such_module:Linf"},
        {"kind": "harden.:Linf"},
        {"kind": "harden.threats:Linf"},
        {"kind": "harden.threats:Linf", "eps": "8/255", "more": 1},
        {"kind": "harden.threats:Linf", "eps": "eight"},
        {"kind": "harden.threats:Linf", "eps": ["8/255"]},
        {"kind": "harden.threats:Linf", "eps": "8/255", "bounds": [0]},
        {"kind": "harden.threats:Linf", "eps": "8/255", "bounds": ["a", "b"]},
        {"kind": "harden.threats:Linf", "eps": "8/255", "bounds": None},
        {"kind": "harden.attacks.pgd:PGD", "steps": "ten"},
        {"kind": "harden.attacks.pgd:PGD", "steps": 0},
    ],
)
def test_what_is_no_value_of_ours_is_refused(described: JSON) -> None:
    """A certificate comes from strangers: nothing in it may run code or crash with a foreign error."""
    with pytest.raises(InputError):
        restore(described)


@pytest.mark.parametrize(
    "kind", ["antigravity:fly", "hardened.evil:Value", "harden:Linf", ".harden.threats:Linf"]
)
def test_a_refused_kind_is_not_imported(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    forbidden: Callable[[str], None] = imported.append
    monkeypatch.setattr("importlib.import_module", forbidden)
    with pytest.raises(InputError, match="one of harden's own"):
        restore({"kind": kind})
    assert imported == []


def test_the_message_names_the_fields() -> None:
    with pytest.raises(InputError, match=r"fields \['eps', 'more'\] for Linf"):
        restore({"kind": "harden.threats:Linf", "eps": "8/255", "more": 1})


def test_a_type_is_named_by_the_package_that_exports_it() -> None:
    """A file may move inside its package, and what was written before reads as it did."""
    described = describe(PGD(steps=3))
    assert isinstance(described, dict)
    assert described["kind"] == "harden.attacks:PGD"
    for earlier in ("harden.attacks.pgd:PGD", "harden.attacks.elsewhere.now:PGD"):
        assert restore({**described, "kind": earlier}) == PGD(steps=3)
    nested: JSON = {
        "attack": {"kind": "harden.attacks.pgd:PGD"},
        "loss": ["harden.losses.dlr_loss:DLR", "my.own:DLR"],
    }
    assert canonical_names(nested) == {
        "attack": {"kind": "harden.attacks:PGD"},
        "loss": ["harden.losses:DLR", "my.own:DLR"],
    }
    assert canonical("a text: harden.attacks.pgd:PGD") == "a text: harden.attacks.pgd:PGD"


def test_a_field_without_effect_makes_no_difference() -> None:
    """Of a PGD that keeps its last point; its default was another before."""
    for keep_best in (True, False):
        one, other = (describe(PGD(keep_best=keep_best, stop_early=stop)) for stop in (True, False))
        assert (canonical_names(one) == canonical_names(other)) == (not keep_best)


def test_a_field_that_earlier_versions_lacked_makes_no_difference_at_its_default() -> None:
    now = describe(AdversarialTraining())
    assert isinstance(now, dict)
    earlier = {key: value for key, value in now.items() if key != "cutmix"}
    earlier["kind"] = "harden.objectives.adversarial:AdversarialTraining"
    assert canonical_names(earlier) == canonical_names(now)
    assert canonical_names(earlier) != canonical_names(describe(AdversarialTraining(cutmix=0.5)))
