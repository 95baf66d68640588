"""Provenance of a model: its training, and the software that ran, for the certificate."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import final

import torch

from harden import kernels
from harden.certificate.schema import BackendRecord, HistoryPoint, Provenance, StageRecord
from harden.description import JSON
from harden.system.package_metadata import versions

PACKAGES = ("harden", "torch", "onnx", "onnxruntime", "onnxscript", "numpy")


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """Training of a model.

    Args:
        recipe: the recipe as JSON; None for a model that harden did not train.
        stages: costs of each stage of training.
        history: points of the training history.
        seeds: by name.
        deterministic: whether the same seed gives the same file.
        device: where it was trained.
    """

    recipe: dict[str, JSON] | None = None
    stages: tuple[StageRecord, ...] = ()
    history: tuple[HistoryPoint, ...] = ()
    seeds: dict[str, int] = field(default_factory=dict)
    deterministic: bool = True
    device: str = "cpu"


def provenance(origin: Origin, passes: float, seconds: float, device: torch.device) -> Provenance:
    """The certificate's provenance; passes and seconds are those of the evaluation, device where it ran.

    The time stamp is SOURCE_DATE_EPOCH's where it is set; then only seconds differ between runs.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    backend = kernels.backend(device)
    return Provenance(
        created=now.isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | versions(PACKAGES),
        seeds=origin.seeds,
        recipe=origin.recipe,
        stages=origin.stages,
        passes=sum(stage.passes for stage in origin.stages) + passes,
        seconds=sum(stage.seconds for stage in origin.stages) + seconds,
        backend=BackendRecord(name=backend.name, reason=backend.reason),
        device=origin.device,
        deterministic=origin.deterministic,
    )
