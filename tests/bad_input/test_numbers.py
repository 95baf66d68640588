"""Numbers that JSON can hold and float64, a logarithm or an index can't: one line, never our own fault."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harden.certificate import certificate_file
from harden.certificate.page import html_page
from harden.certificate.page.charts import axis, line_chart
from harden.errors import BaselineError, HardenError
from harden.regression import baseline
from tests.bad_input.documents import places, put, write_sealed
from tests.bad_input.table import FAST, Answer
from tests.verifier.conftest import build

Command = Callable[..., Answer]
EXTREMES = (5e-324, -5e-324, 1e-310, 1.7976931348623157e308, -1e308, 10**400, -(10**400), 10**30, 0, -1)
WORDS = ("NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400, "9" * 5000, "5e-324")
POINT = {
    "stage": "finetune",
    "step": 1,
    "passes": 1.0,
    "seconds": 1.0,
    "loss": 1.0,
    "clean": 0.5,
    "robust": 0.5,
}


def leaves(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where numbers are."""
    return places(value, lambda each: isinstance(each, int | float) and not isinstance(each, bool))


def test_a_page_is_drawn_of_every_number_that_a_certificate_may_hold(tmp_path: Path) -> None:
    folder = build(tmp_path / "out")
    fields = json.loads((folder / "certificate.json").read_bytes())
    fields["predicate"]["history"] = [POINT, {**POINT, "step": 2, "passes": 2.0, "loss": 0.5}]
    places = list(leaves(fields))
    assert len(places) > 100
    outcomes = set()
    for place in places:
        for value in EXTREMES:
            write_sealed(folder, put(fields, place, value))
            try:
                found = certificate_file.read(folder)
            except HardenError:
                outcomes.add("refused")
                continue
            assert html_page.render(found)
            assert str(found)
            outcomes.add("drawn")
    assert outcomes == {"refused", "drawn"}


@pytest.mark.parametrize("low", [*map(float, EXTREMES[:5]), 0.0, 1.0])
@pytest.mark.parametrize("high", [*map(float, EXTREMES[:5]), 0.0, math.nextafter(1.0, 2.0)])
def test_an_axis_has_few_finite_ticks_and_places_what_is_on_it(low: float, high: float) -> None:
    for zero in (False, True):
        made = axis("loss", [low, high], zero=zero)
        assert 1 <= len(made.ticks) <= 30
        assert all(math.isfinite(value) for value, _ in made.ticks)
        assert "nan" not in line_chart("loss", "two points", made, made, [])
        for value, _ in made.ticks:
            assert "inf" not in line_chart("loss", "a point", made, made, [], (value, "here"))


@pytest.mark.parametrize("word", WORDS)
def test_commands_answer_a_certificate_with_such_a_number_in_one_line(
    stocked: Path, command: Command, word: str
) -> None:
    text = (stocked / "whole" / "certificate.json").read_text()
    (stocked / "whole" / "certificate.json").write_text(text.replace('"loss": ', f'"loss": {word}, "x": ', 1))
    for name in ("report", "verify"):
        answer = command(name, "whole")
        assert answer.code in (1, 2)
        assert answer.err.count("\n") + answer.out.count("\n") <= 2


@pytest.mark.parametrize("word", WORDS)
def test_a_models_notes_with_such_a_number_are_refused_in_one_line(
    stocked: Path, command: Command, word: str
) -> None:
    (stocked / "whole" / "checkpoint" / "model.json").write_text(
        f'{{"spec": "small", "mean": [{word}], "std": [1.0], "head": "", "output": ""}}'
    )
    answer = command("evaluate", "whole", "--data", "npz:good.npz", *FAST)
    assert answer.code == 2, answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("line", [f'{{"level": {word}, "ids": [0], "proved": [1]}}' for word in WORDS[:5]])
def test_a_journal_of_proofs_with_such_a_number_is_refused_in_one_line(
    stocked: Path, command: Command, line: str
) -> None:
    few = ("certify", "bare.onnx", "--data", "npz:good.npz", "--eps", "1/99", "--test-images", 2)
    words = (*few, "--attacks", "pgd", "--method", "ibp", "--radius-steps", 0, "--journal", "kept")
    journal = stocked / "kept" / "proofs.jsonl"
    assert command(*words).code == 0
    whole = journal.read_text().splitlines()[:1]
    for other in (line, '{"level": 1}', "[1]", "[" * 5000):
        journal.write_text("\n".join([*whole, other]) + "\n")
        answer = command(*words)
        assert answer.code == 2, answer.err
        assert answer.err.count("\n") == 1


def test_a_baseline_with_such_numbers_is_shown_or_refused_in_one_line(
    stocked: Path, command: Command, place: Path
) -> None:
    words = ("baseline", "update", "bare.onnx", "--data", "npz:good.npz", "--eps", "1/50")
    assert command(*words, "--attacks", "pgd", *FAST).code == 0
    path = stocked / "robustness-baseline.json"
    fields = json.loads(path.read_bytes())
    for at in leaves(fields):
        for value in EXTREMES:
            path.write_text(json.dumps(put(fields, at, value)))
            with suppress(BaselineError):
                assert baseline.rendered(baseline.read(path, "write it again"))
    path.write_text(json.dumps(put(fields, next(leaves(fields)), 10**400)))
    assert command("baseline", "show").code in (0, 4)


@pytest.mark.parametrize("eps", ["1e999999999", "1e-99999999", "1E+1_000_000_000"])
def test_a_budget_of_endless_digits_is_refused_at_once(stocked: Path, command: Command, eps: str) -> None:
    (stocked / "harden.toml").write_text(f'eps = "{eps}"\n')
    answer = command("check", "bare.onnx", "--data", "npz:good.npz", "--baseline", "none.json")
    assert answer.code == 4
    answer = command("evaluate", "bare.onnx", "--data", "npz:good.npz", "--config", "harden.toml")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
