"""A run from training to certificate: its identity, its order, and its return to a folder that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harden.data import Splits
from harden.errors import HardenError, InputError
from harden.evaluation import Phase, RadiusSearch
from harden.evaluation.suite_lookup import SuiteChoice
from harden.hardening.certified_run import (
    artefact_of_ended_run,
    certified_run,
    evaluation_identity,
    trial_export,
)
from harden.hardening.run_inputs import RunInputs
from harden.models import Classifier
from harden.training import Checkpoints, StepRecord

MakeRun = Callable[..., RunInputs]


def test_the_identity_of_an_evaluation_has_what_decides_its_numbers(make_run: MakeRun, few: Splits) -> None:
    usual = evaluation_identity(make_run())
    assert usual == evaluation_identity(make_run("5epochs", batch_size=7))  # of training alone
    others = [
        make_run(suite=SuiteChoice("pgd", 2, 1)),
        make_run(suite=SuiteChoice("quick", 1, 1)),
        make_run(bfloat16=True),
        make_run(search=RadiusSearch()),
        make_run(test=few.test.take(torch.arange(15))),
    ]
    found = [evaluation_identity(each) for each in others]
    assert usual not in found
    assert all(each not in found[at + 1 :] for at, each in enumerate(found))


def test_training_export_and_certificate_in_order_and_once(make_run: MakeRun, tmp_path: Path) -> None:
    run, out, events = make_run(trained=True), tmp_path / "out", list[str]()

    @contextmanager
    def guard(model: Classifier) -> Iterator[None]:
        assert model is not run.model
        events.append("guarded")
        yield
        events.append("released")

    def step(record: StepRecord) -> None:
        events.append(record.stage)

    def phase(at: Phase) -> None:
        events.append("export")

    assert artefact_of_ended_run(run, out) is None
    kept = Checkpoints(out / "progress", resume=False, also=evaluation_identity(run))
    artefact = certified_run(run, out, kept, guard, on_step=(step, step), on_phase=phase)
    assert list(dict.fromkeys(events)) == ["finetune", "guarded", "export", "released"]
    assert events.count("finetune") == 2 * 3  # 90 images in batches of 32, for two listeners
    predicate = artefact.certificate.predicate
    assert (predicate.data.n, predicate.data.split, predicate.data.unseen) == (16, "test", True)
    assert predicate.comparison is not None  # the model had weights of its own
    # The run is found again, and another is not taken for it.
    again = artefact_of_ended_run(run, out)
    assert again is not None
    assert again.certificate == artefact.certificate
    other = SuiteChoice("pgd", 2, 1)
    for changed in (
        replace(run, batch_size=31),
        replace(run, settings=replace(run.settings, seed=1)),
        replace(run, settings=replace(run.settings, suite=other)),
        replace(run, test=run.test.take(torch.arange(15))),
    ):
        with pytest.raises(InputError, match="expected the same data, model and recipe"):
            artefact_of_ended_run(changed, out)


def test_a_network_without_an_export_is_refused_before_training(make_run: MakeRun) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(x.flatten(1))
            return logits if logits.sum() > 0 else -logits

    with pytest.raises(HardenError, match=r"expected .*; "):
        trial_export(make_run(model=Classifier(Branching())))
    found = trial_export(make_run())
    assert found.parity.max_error <= found.parity.tolerance
