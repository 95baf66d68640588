"""The provenance of a certificate: sums over training and evaluation, versions, and the time stamp."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import torch

from harden.artefact.provenance import PACKAGES, Origin, provenance
from harden.certificate.schema import StageRecord

CPU = torch.device("cpu")


def stage(passes: float, seconds: float) -> StageRecord:
    return StageRecord(name="s", objective={}, passes=passes, epochs_equivalent=1.0, seconds=seconds)


def test_costs_are_those_of_training_and_of_the_evaluation() -> None:
    found = provenance(Origin(stages=(stage(10, 1.5), stage(20, 2.25))), 5, 0.25, CPU)
    assert (found.passes, found.seconds) == (35, 4.0)
    assert provenance(Origin(), 5, 0.25, CPU).passes == 5


def test_the_origin_is_copied() -> None:
    origin = Origin({"a": [1]}, seeds={"seed": 3}, deterministic=False, device="cuda:1")
    found = provenance(origin, 0, 0, CPU)
    assert (found.recipe, found.seeds, found.deterministic) == ({"a": [1]}, {"seed": 3}, False)
    assert found.device == "cuda:1"  # where it was trained, not where it was evaluated
    assert {"python", *PACKAGES} >= set(found.versions) >= {"python", "torch", "onnxruntime", "numpy"}
    assert found.backend.name in ("native", "torch")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_the_time_stamp_is_in_utc_and_can_be_fixed(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert provenance(Origin(), 0, 0, CPU).created == "2023-11-14T22:13:20+00:00"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    now = datetime.fromisoformat(provenance(Origin(), 0, 0, CPU).created)
    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - now) < timedelta(days=1)
