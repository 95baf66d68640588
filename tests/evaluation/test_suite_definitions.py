"""The default suite trusts ordinary networks; what is printed of an evaluation says why one is not."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor

import harden
from harden.artefact.measure_file import Claim
from harden.data import Splits
from harden.evaluation import Evaluation, TrustCheck, Witnesses, evaluate, standard
from harden.evaluation.trust.closing_attempts import RESERVED
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import TRADES, Standard
from harden.threats import Linf

Data = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def few(digits: Splits) -> Data:
    return digits.test.x[:32], digits.test.y[:32]


def trained(digits: Splits, recipe: harden.Recipe, seed: int) -> Classifier:
    """A small network trained honestly, and shortly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = small_cnn()
    data = (digits.train.x[:600], digits.train.y[:600])
    found = harden.harden(
        Classifier(network), data, threat=Linf("1/10"), recipe=recipe, budget="12E", seed=seed
    )
    return found.model


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.once) for seed in (1, 2))])
def test_plain_networks_are_trusted(digits: Splits, few: Data, seed: int) -> None:
    model = trained(digits, harden.Recipe(finetune=Standard(), validations=0), seed)
    found = evaluate(model, few, Linf("1/6"), seed=seed)
    assert found.status == "ok", found
    assert found.clean.value > 0.5
    names = [record.name for record in found.attempts]
    assert names == [*(attempt.name for attempt in standard()), *RESERVED]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.once)])
def test_shortly_hardened_networks_are_trusted(digits: Splits, few: Data, seed: int) -> None:
    recipe = harden.Recipe(finetune=TRADES(attack=harden.PGD(steps=2, step_size=0.7)), validations=0)
    found = evaluate(trained(digits, recipe, seed), few, Linf("1/6"), seed=seed)
    assert found.status == "ok", found


def test_every_door_has_the_same_default() -> None:
    assert Claim(Linf("1/10")).attempts == standard()
    from harden.cli.options.evaluate_options import EvaluateOptions
    from harden.cli.options.export_options import ExportOptions
    from harden.cli.options.run_options import RunOptions
    from harden.evaluation.suite_lookup import DEFAULT, DEFAULT_SUITE, chosen, suite_named
    from harden.pytest_plugin import Robustness

    usual = chosen("", None, None)
    assert suite_named(usual.attacks, usual.steps, usual.restarts) == standard()
    assert DEFAULT == usual.attacks == inspect.signature(Robustness.check).parameters["attacks"].default
    for options in (RunOptions, ExportOptions, EvaluateOptions):
        default = [options.__dataclass_fields__[name].default for name in ("attacks", "steps", "restarts")]
        assert default == ["", None, None]
    assert RunOptions("digits", Path()).suite == usual == DEFAULT_SUITE
    # Steps and restarts are those of PGD: who gives them means it.
    for steps, restarts in ((20, None), (None, 1), (50, 3)):
        assert chosen("", steps, restarts).attacks == "pgd"
    assert (chosen("quick", None, None).attacks, chosen("", 20, None).restarts) == ("quick", 3)


def made(*checks: TrustCheck) -> Evaluation:
    """An evaluation of four images, of which one is broken."""
    labels = torch.arange(4)
    broken = torch.tensor([True, False, False, False])
    none = Witnesses(*(torch.zeros(0) for _ in range(5)))
    by = torch.where(broken, 0, -1)
    return Evaluation(Linf("1/10"), labels, labels, broken, (), checks, none, 0.0, 0.0, by, 0 * by)


def test_an_evaluation_prints_its_accuracies_or_why_there_are_none() -> None:
    quiet = TrustCheck("noise beats the attacks", 0.0, 0.005, "share", "look")
    assert repr(made(quiet)) == (
        '<Evaluation Linf("1/10"), n = 4: ok, clean 100.0 % [39.7, 100.0] (n = 4), '
        "robust at most 75.0 % [19.4, 99.4] (n = 4)>"
    )
    weak = TrustCheck("complete optimisation", 0.0184, 0.005, "share, 9 of 256", "more steps")
    said = str(made(quiet, weak))
    assert "unreliable" in said
    assert "75.0 %" not in said
    reason = "complete optimisation: share, 9 of 256: 0.0184, expected no more than 0.005; more steps"
    assert f"  {reason}\n" in said
    assert made(quiet, weak).fired == (weak,)
    assert weak.reason == reason
    assert "next: harden.evaluate(model, data, threat, harden.evaluation.standard())" in said
    hidden = TrustCheck("zero gradients", 1.0, 0.05, "share", "remove rounding")
    assert "next" not in str(made(hidden))
    assert "zero gradients" in str(made(hidden))
