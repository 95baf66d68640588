"""Networks as forums, courses and papers write them: hardened and shipped, or refused before training.

Every network is wrapped, attacked, hardened for one step, exported, compared by the gate, attacked as a file
and verified; or `harden` refuses it in one line before the first step.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harden.errors import HardenError
from harden.evaluation import evaluate, pgd_suite
from harden.hardening import Recipe, harden
from harden.models import Classifier
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import StepRecord
from harden.verifier.verify_command import main as verify
from tests.hardening.handwritten import attentive, convolutional, heads, pooled, prepared, pythonic, stateful
from tests.hardening.handwritten.built import Entry

THREAT = Linf("8/255")
STEP = Recipe(finetune=Standard(), validations=0, average=0.0)
FAMILIES = (convolutional, pooled, attentive, heads, prepared, pythonic, stateful)
NETWORKS: dict[str, Entry] = {name: entry for family in FAMILIES for name, entry in family.ENTRIES.items()}
SHIPPED = [name for name, entry in NETWORKS.items() if not entry.refused]
# Every ninth one in the usual run; the others take minutes more, with `pytest -m once`.
OFTEN = [
    pytest.param(name, marks=() if number % 9 == 0 else pytest.mark.once)
    for number, name in enumerate(SHIPPED)
]
REFUSED = [name for name, entry in NETWORKS.items() if entry.refused]


def test_there_are_more_than_a_hundred() -> None:
    assert len(NETWORKS) == sum(len(family.ENTRIES) for family in FAMILIES), "a name twice"
    assert len(SHIPPED) > 100


def images(entry: Entry) -> tuple[Tensor, Tensor]:
    x = torch.rand(12, entry.channels, entry.size, entry.size, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(12) % 2


def classifier(entry: Entry) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Classifier(entry.make(), head=entry.head, output=entry.output)


@pytest.mark.parametrize("name", OFTEN)
def test_it_is_hardened_exported_and_verified(name: str, tmp_path: Path) -> None:
    entry = NETWORKS[name]
    model, (x, y) = classifier(entry), images(entry)
    found = evaluate(model, (x[:4], y[:4]), THREAT, pgd_suite(1, 1))
    assert 0 <= found.robust.value <= found.clean.value <= 1
    steps: list[StepRecord] = []
    # The trial is an export too, and one is made right afterwards.
    hardened = harden(
        model, (x, y), threat=THREAT, recipe=STEP, budget="1epochs", exportable=False, on_step=steps.append
    )
    assert len(steps) == 1
    artefact = hardened.export(tmp_path / "out", (1 - x, y), attempts=pgd_suite(1, 1), compare={})
    with torch.no_grad():
        answer = hardened.model(x)
    torch.testing.assert_close(torch.from_numpy(artefact(x.numpy())), answer, rtol=1e-3, atol=1e-3)
    assert verify([str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line_before_the_first_step(name: str) -> None:
    entry = NETWORKS[name]
    model = classifier(entry)
    steps: list[StepRecord] = []
    with torch.random.fork_rng(devices=[]), pytest.raises(HardenError) as caught:
        harden(model, images(entry), threat=THREAT, recipe=STEP, budget="1epochs", on_step=steps.append)
    assert steps == []
    assert entry.refused in str(caught.value)
    assert "\n" not in str(caught.value)
