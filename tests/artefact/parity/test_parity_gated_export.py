"""The gate compares what onnxruntime computes at every level of its graph optimisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harden.artefact.parity import parity_gated_export
from harden.artefact.runtime.session import Session
from harden.certificate.optimisation_levels import LEVELS
from harden.errors import ExportError, InputError
from harden.models import Classifier
from harden.threats import Linf


def network() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))


def exported() -> object:
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return parity_gated_export.exported(network(), x, torch.arange(6) % 3, Linf("1/10"))


@pytest.mark.parametrize("off", ["disabled", "basic", "extended"])
def test_a_level_that_computes_something_else_is_refused_by_name(
    off: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session

    def moved(content: bytes, *, level: str = "all", **more: Any) -> Any:
        session = real(content, level=level, **more)
        return (lambda image: session(image) + np.float32(0.01)) if level == off else session

    monkeypatch.setattr(parity_gated_export, "Session", moved)
    with pytest.raises(ExportError, match=f"optimisation level '{off}'"):
        exported()


def test_every_level_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = Session

    def counted(content: bytes, *, level: str = "all", **more: Any) -> Session:
        seen.append(level)
        return real(content, level=level, **more)

    monkeypatch.setattr(parity_gated_export, "Session", counted)
    exported()
    assert sorted(seen) == sorted(LEVELS)


def test_a_level_that_does_not_load_is_the_networks_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Session

    def refused(content: bytes, *, level: str = "all", **more: Any) -> Session:
        if level == "extended":
            raise InputError("the graph does not load (no kernel)", "an ONNX model", "export it again")
        return real(content, level=level, **more)

    monkeypatch.setattr(parity_gated_export, "Session", refused)
    with pytest.raises(ExportError, match="whose graph onnxruntime does not take"):
        exported()
