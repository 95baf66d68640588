"""Guessing: an accuracy not above the largest class's share gets a warning, by the exact binomial test."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from harden.certificate import formatting
from harden.certificate.chance_level import caution, caution_of
from harden.certificate.page.html_page import render
from harden.statistics import Proportion
from tests.certificate.conftest import make, proportion


def warning(count: int, sizes: dict[str, int], only: str | None = None) -> str:
    clean = Proportion(count, sum(sizes.values()))
    return caution(str(clean), clean.interval[0], sizes, only)


@pytest.mark.parametrize("sizes", [{"a": 50, "b": 50}, {"a": 90, "b": 10}, {"a": 12, "b": 11, "c": 10}])
def test_it_is_the_exact_one_sided_test_against_the_largest_share(sizes: dict[str, int]) -> None:
    n, share = sum(sizes.values()), max(sizes.values()) / sum(sizes.values())
    answers = [bool(warning(count, sizes)) for count in range(n + 1)]
    exact = [binomtest(count, n, share, alternative="greater").pvalue > 0.025 for count in range(n + 1)]
    assert answers == exact
    assert True in answers
    # Where one class has 90 of 100, all right are needed: fewer can't be told.
    assert answers[n] is False


def test_one_answer_to_all_is_told_however_many_are_right() -> None:
    said = warning(9, {"healthy": 9, "ill": 1}, only="healthy")
    assert "every one of the 10 images is answered healthy" in said
    assert warning(3, {"a": 2, "b": 2}, only="a")
    assert "answering healthy to every image" in warning(90, {"healthy": 90, "ill": 10})


def test_few_images_can_tell_nothing_and_are_left_alone() -> None:
    assert warning(4, {"a": 5, "b": 4}) == ""


def test_a_test_set_of_one_class_says_nothing_of_a_classifier() -> None:
    assert "answering a to every image is right for 100.0 %" in warning(40, {"a": 40}, only="a")


def _at_chance() -> tuple[object, ...]:
    certificate = make()
    predicate = certificate.predicate
    n = predicate.data.n
    few = predicate.model_copy(update={"clean": proportion(n // 10, n)})
    return certificate, certificate.model_copy(update={"predicate": few})


def test_summary_and_page_carry_it_where_it_holds_and_nowhere_else() -> None:
    good, bad = _at_chance()
    assert caution_of(good.predicate) == ""  # type: ignore[attr-defined]
    assert "No better than guessing" not in render(good)  # type: ignore[arg-type]
    said = caution_of(bad.predicate)  # type: ignore[attr-defined]
    assert "can't be distinguished from guessing" in said
    page = render(bad)  # type: ignore[arg-type]
    assert page.index("No better than guessing") < page.index("What holds")
    assert f"WARNING   {said}" in formatting.summary(bad, "seal")  # type: ignore[arg-type]
