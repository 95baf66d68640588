from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.errors import InputError
from harden.training import Budget, BudgetUse


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("10min", 600, "s"),
        ("90s", 90, "s"),
        ("90sec", 90, "s"),
        ("1.5h", 5400, "s"),
        (".5h", 1800, "s"),
        ("300E", 300, "E"),
        ("0.1E", 0.1, "E"),
        ("1epoch", 1, "epochs"),
        ("3epochs", 3, "epochs"),
        (" 3 epochs ", 3, "epochs"),
    ],
)
def test_reads_an_amount_and_a_unit(text: str, amount: float, unit: str) -> None:
    budget = Budget.parse(text)
    assert (budget.amount, budget.unit) == (amount, unit)
    assert budget.deterministic == (unit != "s")
    # What is printed reads back as what was meant.
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    "text",
    ["", "10", "min", "10 m", "10mins", "-3E", "1e3E", "3e", "0E", "0.0min", "inf E", "nanE", "3,5h", "3E4E"],
)
def test_says_what_to_write_instead_of_anything_else(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget.parse(text)
    assert "300E" in caught.value.instead


def test_an_amount_too_large_for_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="positive amount"):
        Budget.parse("9" * 400 + "E")


@pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf")])
def test_an_amount_is_positive_and_finite(amount: float) -> None:
    with pytest.raises(InputError, match="positive amount"):
        Budget(amount, "E")


def test_a_budget_stays_what_it_is() -> None:
    budget = Budget(3, "E")
    assert Budget.parse(budget) is budget


@pytest.mark.parametrize(
    ("budget", "spent", "share"),
    [
        (Budget(4, "E"), BudgetUse(passes=100, examples=999, seconds=999), 0.25),
        (Budget(4, "epochs"), BudgetUse(passes=999, examples=200, seconds=999), 0.5),
        (Budget(4, "s"), BudgetUse(passes=999, examples=999, seconds=3), 0.75),
        (Budget(4, "E"), BudgetUse(passes=1000), 1.0),
    ],
)
def test_progress_looks_at_its_own_unit_alone(budget: Budget, spent: BudgetUse, share: float) -> None:
    assert budget.progress(spent, 100) == share


def test_a_budget_met_but_for_rounding_is_met() -> None:
    parts = sum([0.1] * 10)
    assert parts < 1
    assert Budget(1, "E").progress(BudgetUse(passes=parts), 1) == 1.0
    assert Budget(1, "E").progress(BudgetUse(passes=0.9999), 1) < 1.0


@given(st.floats(0.01, 1e6), st.floats(1e-3, 1.0), st.floats(0, 1e7), st.floats(0, 1e7))
def test_progress_rises_with_what_is_spent_and_a_part_runs_out_sooner(
    amount: float, share: float, one: float, other: float
) -> None:
    whole = Budget(amount, "E")
    low, high = sorted((one, other))
    assert 0 <= whole.progress(BudgetUse(low), 7) <= whole.progress(BudgetUse(high), 7) <= 1
    assert whole.part(share).progress(BudgetUse(one), 7) >= whole.progress(BudgetUse(one), 7)
