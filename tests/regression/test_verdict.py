"""The verdict: three answers, floors and checks, several comparisons, and what would decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.errors import InputError
from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, Finding, GateAnswer, Rule, holm, judge


def only(pairs: Pairs, rule: Rule | None = None, **broken: Any) -> Finding:
    verdict = judge([Comparison("linf 8/255", "robust", pairs, **broken)], rule or Rule())
    (finding,) = verdict.findings
    assert verdict.state is finding.state
    return finding


def test_three_answers_by_hand() -> None:
    """n = 1000: 10 gained and 8 lost; 10 and 50; 20 and 30."""
    good = only(Pairs(1000, 500, 10, 8))
    assert (good.state, good.reasons, good.notes, good.outlook) == (GateAnswer.PASS, (), (), None)
    bad = only(Pairs(1000, 500, 10, 50))
    assert bad.state is GateAnswer.FAIL
    assert "significant drop" in bad.reasons[0]
    assert bad.p_worse < 1e-6
    open_ = only(Pairs(1000, 500, 20, 30))
    assert open_.state is GateAnswer.INCONCLUSIVE
    assert open_.reasons == ()
    assert open_.outlook is not None
    assert 1000 < open_.outlook.needed < 2000
    assert 0.015 < open_.outlook.visible < 0.03
    assert open_.interval[0] < -0.02 < open_.interval[1]


def test_pass_takes_precedence_and_notes_a_small_significant_drop() -> None:
    found = only(Pairs(10_000, 5000, 0, 20))
    assert found.p_worse < 0.001
    assert found.interval[1] < 0
    assert found.state is GateAnswer.PASS
    assert "small drop is significant" in found.notes[0]


@pytest.mark.parametrize("pairs", [Pairs(1000, 900, 50, 0), Pairs(1000, 500, 20, 30), Pairs(10, 5, 0, 0)])
def test_a_broken_check_or_floor_always_fails(pairs: Pairs) -> None:
    found = only(pairs, broken=("the number can't be trusted",))
    assert (found.state, found.reasons) == (GateAnswer.FAIL, ("the number can't be trusted",))
    low = only(pairs, Rule(floor=(("robust", 0.99),)))
    assert low.state is GateAnswer.FAIL
    assert "below the floor of 99 %" in low.reasons[0]
    assert low.outlook is None


def test_a_floor_is_met_by_what_was_measured_exactly() -> None:
    pairs = Pairs(1000, 500, 0, 0)
    assert only(pairs, Rule(floor=(("robust", 0.5),))).state is GateAnswer.PASS
    assert only(pairs, Rule(floor=(("robust", 0.5001),))).state is GateAnswer.FAIL
    with pytest.raises(InputError, match="a floor for clean accuracy, which the baseline does not have"):
        only(pairs, Rule(floor=(("clean", 0.9),)))


def test_a_few_images_decide_nothing_even_without_a_difference() -> None:
    found = only(Pairs(100, 60, 0, 0))
    assert found.state is GateAnswer.INCONCLUSIVE
    assert found.outlook is not None
    assert found.outlook.needed > 100
    assert only(Pairs(300, 180, 0, 0)).state is GateAnswer.PASS


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.001, 0.3), st.floats(0.001, 0.3))
def test_a_larger_margin_never_turns_pass_into_something_else(
    gained: int, lost: int, one: float, other: float
) -> None:
    pairs = Pairs(500, 100, gained, lost)
    narrow, wide = (only(pairs, Rule(margin)).state for margin in sorted((one, other)))
    if narrow is GateAnswer.PASS:
        assert wide is GateAnswer.PASS
    if wide is GateAnswer.FAIL:
        assert narrow is GateAnswer.FAIL


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_lost_image_never_helps(gained: int, lost: int) -> None:
    order = {GateAnswer.FAIL: 0, GateAnswer.INCONCLUSIVE: 1, GateAnswer.PASS: 2}
    before, worse = (only(Pairs(900, 300, gained, lost + more)).state for more in (0, 1))
    assert order[worse] <= order[before]


@given(st.integers(0, 30), st.integers(0, 30))
def test_what_fails_one_way_passes_the_other(gained: int, lost: int) -> None:
    one, other = (only(Pairs(800, 300, *pair)) for pair in ((gained, lost), (lost, gained)))
    assert one.interval == (-other.interval[1], -other.interval[0])
    if one.state is GateAnswer.FAIL:
        assert other.state is GateAnswer.PASS


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03], 0.05) == [0.05 / 3, 0.025, 0.025]
    assert holm([0.01, 0.02, 0.04], 0.05) == [0.05 / 3, 0.025, 0.05]
    assert holm([0.5], 0.05) == [0.05]
    # A first that is not below its level stops all others, small as they are beside their own.
    assert holm([0.02, 0.024, 0.049], 0.05) == [0.05 / 3] * 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_adjusted_p_values_reject(p_values: list[float]) -> None:
    """The other form of the procedure: the running maximum of (k - i) p, against alpha."""
    k, running, rejected = len(p_values), 0.0, {}
    for rank, place in enumerate(sorted(range(k), key=lambda at: p_values[at])):
        running = max(running, (k - rank) * p_values[place])
        rejected[place] = running < 0.05
    ours = [p < level for p, level in zip(p_values, holm(p_values, 0.05), strict=True)]
    near = any(abs((k - rank) * p - 0.05) < 1e-12 for p in p_values for rank in range(k))
    assert near or ours == [rejected[place] for place in range(k)]


def test_several_checks_share_alpha_and_the_worst_decides() -> None:
    drop = Pairs(1000, 500, 14, 28)  # p = 0.022
    alone = judge([Comparison("a", "robust", drop)], Rule())
    assert alone.state is GateAnswer.FAIL
    calm = Pairs(1000, 900, 5, 5)
    three = judge(
        [
            Comparison("a", "robust", drop),
            Comparison("a", "clean", calm),
            Comparison("b", "robust", Pairs(1000, 400, 9, 9)),
        ],
        Rule(),
    )
    assert [finding.state for finding in three.findings] == [
        GateAnswer.INCONCLUSIVE,
        GateAnswer.PASS,
        GateAnswer.PASS,
    ]
    assert three.state is GateAnswer.INCONCLUSIVE
    assert three.findings[0].level == pytest.approx(0.05 / 3)


@pytest.mark.parametrize(
    ("pairs", "code", "strict"),
    [
        (Pairs(1000, 500, 10, 8), 0, 0),
        (Pairs(1000, 500, 10, 50), 1, 1),
        (Pairs(1000, 500, 20, 30), 0, 3),
    ],
)
def test_exit_codes(pairs: Pairs, code: int, strict: int) -> None:
    verdict = judge([Comparison("a", "robust", pairs)], Rule())
    assert (verdict.exit_code(), verdict.exit_code(inconclusive_fails=True)) == (code, strict)


def test_nothing_to_compare_is_no_pass() -> None:
    with pytest.raises(InputError, match="at least one"):
        judge([], Rule())
    same = Comparison("a", "robust", Pairs(10, 5, 0, 0))
    with pytest.raises(InputError, match="a name of its own"):
        judge([same, same], Rule())


@pytest.mark.parametrize(
    ("margin", "alpha", "floor"),
    [
        (0.0, 0.05, ()),
        (1.0, 0.05, ()),
        (float("nan"), 0.05, ()),
        (0.02, 0.0, ()),
        (0.02, 0.7, ()),
        (0.02, 0.05, (("robustness", 0.5),)),
        (0.02, 0.05, (("robust", 40.0),)),
    ],
)
def test_rules_that_can_not_be(margin: float, alpha: float, floor: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(InputError):
        Rule(margin, alpha, floor)


def test_a_model_at_the_level_of_guessing_is_no_pass() -> None:
    same = Pairs(1000, 100, 0, 0)
    assert only(same).state is GateAnswer.PASS
    found = only(same, guessing="clean accuracy can't be distinguished from guessing")
    assert (found.state, found.reasons, found.outlook) == (GateAnswer.INCONCLUSIVE, (), None)
    assert found.notes == ("clean accuracy can't be distinguished from guessing; that is no PASS",)
    worse = only(Pairs(1000, 500, 10, 50), guessing="as above")
    assert (worse.state, worse.notes) == (GateAnswer.FAIL, ("as above",))
