"""Methods of proof by name, and the options that name them."""

from __future__ import annotations

import pytest

from harden.errors import InputError
from harden.evaluation.proofs.methods import CERTIFICATE_STEPS, METHODS, PARTS, method_named, search_named


def test_each_name_adds_to_the_method_before_it() -> None:
    found = [method_named(name) for name in METHODS]
    assert [method.backward for method in found] == [False, True, True, True]
    assert [method.climb is not None for method in found] == [False, False, True, True]
    assert [method.branching is not None for method in found] == [False, False, False, True]
    branching = found[-1].branching
    assert branching is not None
    # A limit of time would make the result depend on the machine.
    assert (branching.parts, branching.seconds) == (PARTS, None)


def test_a_search_has_the_steps_of_certificates_and_its_minutes() -> None:
    search = search_named("crown", 2.5)
    assert search is not None
    assert (search.method, search.steps, search.minutes) == (method_named("crown"), CERTIFICATE_STEPS, 2.5)
    assert search_named("none", None) is None


def test_refusals_name_the_option_that_was_given() -> None:
    with pytest.raises(InputError, match="--method crwn; expected ibp or crown or"):
        method_named("crwn")
    with pytest.raises(InputError, match=r"--prove crwn; .*write --prove alpha-crown") as caught:
        search_named("crwn", None)
    assert "--method" not in str(caught.value)
    with pytest.raises(InputError, match="--prove-minutes 3 without --prove"):
        search_named("none", 3)
    with pytest.raises(InputError):
        search_named("crown", 0.0)
