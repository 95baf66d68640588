"""The fields of a baseline: counts agree with bits, outcomes with the setting, names with their checks."""

from __future__ import annotations

import numpy as np
import pytest

from harden.regression.baseline_records import (
    Baseline,
    Check,
    ModelDigests,
    Outcome,
    described,
)
from tests.regression.baseline_check import N, check, setting


def test_robust_implies_clean() -> None:
    bits = np.arange(N)
    with pytest.raises(ValueError, match="robust to imply clean"):
        Check(
            setting=setting(),
            model=ModelDigests(file="d" * 64, graph="e" * 64),
            outcomes={"clean": Outcome.of(bits < 100), "robust": Outcome.of(bits < 101)},
            versions={},
        )


def test_an_outcome_counts_its_bits() -> None:
    mask = np.arange(N) % 7 == 0
    found = Outcome.of(mask)
    assert (found.accuracy.count, found.accuracy.n) == (43, N)
    assert np.array_equal(found.mask, mask)
    other = {"accuracy": Outcome.of(~mask).accuracy, "correct": found.correct}
    with pytest.raises(ValueError, match="43 bits set; expected the count, 257"):
        Outcome.model_validate(other)


def test_the_outcomes_are_those_of_the_setting_and_of_its_images() -> None:
    one = check()
    fields = dict(one)
    with pytest.raises(ValueError, match=r"expected \['certified', 'clean', 'robust'\]"):
        Check(**{**fields, "setting": one.setting.model_copy(update={"certified": True})})
    with pytest.raises(ValueError, match=f"of {N} images; expected 200"):
        Check(**{**fields, "setting": setting(n=200)})


def test_checks_are_kept_under_names_of_label_threat_and_suite() -> None:
    one = check(setting=setting("4/255"))
    labelled = one.model_copy(update={"label": "scanner"})
    assert (one.name, labelled.name) == ("linf 4/255 quick", "scanner: linf 4/255 quick")
    made = Baseline(checks={each.name: each for each in (one, labelled)})
    fields = described(made)
    assert fields["schema"] == "urn:harden:robustness-baseline:v1"
    assert Baseline.model_validate(fields) == made
    with pytest.raises(ValueError, match="expected each check under its own name"):
        Baseline(checks={"linf 8/255 quick": one})
