"""A run begins with a trial export, so that no budget is spent on what can't be exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import harden.hardening.run_stages as run_module
from harden.artefact.parity import trial_export
from harden.errors import ExportError
from harden.hardening import Recipe, harden
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import LinearProbe
from harden.threats import Linf
from harden.training import Checkpoints, StepRecord

THREAT = Linf("8/255")
QUICK = Recipe(finetune=LinearProbe(), validations=0)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        answer: Tensor = self.head(flat if bool(x.sum() > 0) else -flat)
        return answer


def data() -> tuple[Tensor, Tensor]:
    return torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 4


@pytest.mark.parametrize("kept", [False, True])
def test_what_can_not_be_exported_is_refused_before_the_first_step(kept: bool, tmp_path: Path) -> None:
    steps: list[StepRecord] = []
    model, place = Classifier(Branching()), tmp_path / "progress"
    checkpoints = Checkpoints(place) if kept else None
    with pytest.raises(ExportError, match="without data-dependent control flow") as caught:
        harden(
            model,
            data(),
            threat=THREAT,
            recipe=QUICK,
            budget="1epochs",
            checkpoints=checkpoints,
            on_step=steps.append,
        )
    assert "exportable=False" in caught.value.instead
    assert steps == []
    assert not place.exists()


def test_who_never_exports_is_not_held_up() -> None:
    model = Classifier(Branching())
    hardened = harden(model, data(), threat=THREAT, recipe=QUICK, budget="1epochs", exportable=False)
    assert isinstance(hardened.model.network, Branching)


class KilledError(Exception):
    pass


def test_a_run_that_goes_on_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Classifier] = []
    real = trial_export.check_exportable

    def counted(model: Classifier, x: Tensor, y: Tensor, threat: Linf) -> object:
        tried.append(model)
        return real(model, x, y, threat)

    monkeypatch.setattr(run_module, "check_exportable", counted)

    def killed(record: StepRecord) -> None:
        raise KilledError

    def go(resume: bool, dies: bool) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Classifier(small_cnn(num_classes=4))
        harden(
            model,
            data(),
            threat=THREAT,
            recipe=QUICK,
            budget="2epochs",
            checkpoints=Checkpoints(tmp_path, resume=resume, every=0.0),
            on_step=killed if dies else None,
        )

    with pytest.raises(KilledError):
        go(resume=False, dies=True)
    go(resume=True, dies=False)
    assert len(tried) == 1
