"""Names and numbers of a recipe: what is not known or not positive is refused, with the option's name."""

from __future__ import annotations

import pytest

from harden.errors import InputError
from harden.recipe_names import check_name, check_positive


def test_a_known_name_passes() -> None:
    check_name("--optimiser", "sgd", ("auto", "sgd"))


@pytest.mark.parametrize(
    ("name", "instead"), [("sdg", "did you mean sgd?"), ("zzzz", "write --optimiser auto")]
)
def test_another_is_refused_with_the_closest_or_the_first(name: str, instead: str) -> None:
    with pytest.raises(InputError) as caught:
        check_name("--optimiser", name, ("auto", "sgd"))
    assert (caught.value.seen, caught.value.expected) == (f"--optimiser {name!r}", "auto | sgd")
    assert caught.value.instead == instead


def test_a_positive_number_is_returned() -> None:
    assert check_positive("--lr", 0.25, "0.1") == 0.25


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_other_numbers_are_refused(value: float) -> None:
    with pytest.raises(InputError) as caught:
        check_positive("--lr", value, "0.1")
    assert caught.value.seen == f"--lr {value:g}"
    assert caught.value.instead == "write --lr 0.1"
