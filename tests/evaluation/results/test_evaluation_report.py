"""An evaluation as JSON: complete, in the schema that the docs hold, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harden.attacks import PGD
from harden.data import Splits
from harden.evaluation import Attempt, Evaluation, evaluate, pgd_suite, robustness_curve
from harden.evaluation.results.evaluation_report import EvaluationReport, curve_points
from harden.losses import Margin
from harden.models import Classifier
from harden.threats import Linf

SCHEMA = Path(__file__).parents[3] / "docs" / "evaluation.schema.json"
CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def found(plain: Classifier, digits: Splits) -> Evaluation:
    data = (digits.test.x[:150], digits.test.y[:150])
    return evaluate(plain, data, Linf("0.1"), pgd_suite(20, 1), seed=3)


def written(found: Evaluation, **more: Any) -> dict[str, Any]:
    report = EvaluationReport.of(found, "torch", CLASSES, 3, **more)
    again: dict[str, Any] = json.loads(report.model_dump_json(exclude_unset=True))
    assert EvaluationReport.model_validate_json(json.dumps(again)) == report
    return again


def test_the_schema_in_the_docs_is_that_of_the_report() -> None:
    made = json.dumps(EvaluationReport.model_json_schema(), indent=1, sort_keys=True) + "\n"
    assert SCHEMA.read_text() == made, (
        "write it again: python -m tests.evaluation.results.test_evaluation_report"
    )


def test_every_number_is_there(found: Evaluation) -> None:
    said = written(found)
    assert (said["status"], said["complete"], said["n"], said["left"], said["seed"]) == (
        "ok",
        True,
        150,
        0,
        3,
    )
    assert said["robust"]["count"] == found.robust.count
    assert said["robust"]["interval"] == list(found.robust.interval)
    assert said["threat"] == {"norm": "linf", "eps": "1/10", "bounds": [0.0, 1.0]}
    assert list(said["per_attack"]) == [record.name for record in found.attempts]
    assert set(said["checks"]) == {check.name for check in found.checks}
    assert said["worst_class"]["label"] == found.worst_class[0]
    assert "curve" not in said


def test_each_example_says_what_broke_it(found: Evaluation) -> None:
    each = written(found)["per_example"]
    assert [len(column) for column in each.values()] == [150] * 3
    for place, name in enumerate(each["broken_by"]):
        assert (name is not None) == bool(found.broken[place])
        assert (each["broken_at"][place] > 0) == bool(found.broken[place])
    assert sum(each["clean_correct"]) == found.clean.count
    counts = {record.name: record.broken for record in found.attempts if record.broken}
    assert {name: each["broken_by"].count(name) for name in counts} == counts


def test_without_trust_there_is_no_headline(plain: Classifier, digits: Splits) -> None:
    def still(loss: object, x: Any, threat: object, draws: object) -> Any:
        return x

    data = (digits.test.x[:60], digits.test.y[:60])
    said = written(evaluate(plain, data, Linf("0.1"), [Attempt("still", still, Margin)]))
    assert (said["status"], said["robust"], said["worst_class"]) == ("unreliable", None, None)
    assert said["clean"]["count"] > 0


def test_several_eps_make_a_curve(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:60], digits.test.y[:60])
    suite = [Attempt("pgd", PGD(steps=20), Margin)]
    rungs = robustness_curve(plain, data, [Linf("0.02"), Linf("0.1")], suite)
    said = written(rungs[-1], curve=curve_points(rungs))
    assert [point["eps"] for point in said["curve"]] == ["1/50", "1/10"]
    assert said["curve"][1]["robust"] == said["robust"]


def test_what_has_no_place_is_refused(found: Evaluation) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        EvaluationReport.of(found, "torch", CLASSES, 0, surprise=1)
    said = written(found)
    del said["robust"]
    with pytest.raises(ValidationError, match="robust"):
        EvaluationReport.model_validate(said)


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(EvaluationReport.model_json_schema(), indent=1, sort_keys=True) + "\n")
