from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import harden
from harden.verifier.verify_command import main as verify


def pictures(n: int, seed: int) -> TensorDataset:
    """Colour images of three classes: the brightest channel is the label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 0.5 * torch.rand(n, 3, 8, 8, generator=generator)
    x[torch.arange(n), y] += 0.4
    return TensorDataset(x, y)


def loader(dataset: TensorDataset) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(dataset, batch_size=16, shuffle=True)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


def test_the_few_lines(tmp_path: Path, rng_untouched: None) -> None:
    test = pictures(36, seed=1)
    my_net, train_loader, test_loader = network(), loader(pictures(96, seed=0)), loader(test)

    model = harden.Classifier(my_net, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    hardened = harden.harden(model, train_loader, threat=harden.Linf("8/255"), budget="150E", seed=0)
    artefact = hardened.export(
        tmp_path / "out", test_loader, attempts=harden.evaluation.pgd_suite(steps=3, restarts=1)
    )

    text = str(artefact.certificate)
    predicate = artefact.certificate.predicate
    assert predicate.clean.value > 0.6  # chance is a third
    assert f"({predicate.clean.count} of 36; 95 % interval" in text
    assert f"({predicate.bracket.robust.count} of 36; 95 % interval" in text
    assert "before hardening" in text
    assert verify([str(tmp_path / "out")]) == 0
    # The user's network is as it was: a copy was hardened.
    fresh = network().state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in my_net.state_dict().items())
    assert my_net.training
    assert all(weight.requires_grad and weight.grad is None for weight in my_net.parameters())
    images = test.tensors[0].numpy()
    with torch.no_grad():
        expected = hardened.model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(harden.load(tmp_path / "out")(images), expected, atol=1e-4)


def test_the_same_seed_hardens_to_the_same_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        recipe = harden.Recipe(
            finetune=harden.TRADES(attack=harden.PGD(steps=2, keep_best=False)), validations=1
        )
        model = harden.Classifier(network())
        made = harden.harden(
            model,
            loader(pictures(48, seed=0)),
            threat=harden.L2("1/4"),
            recipe=recipe,
            budget="2epochs",
            seed=seed,
        )
        return nn.utils.parameters_to_vector(made.model.parameters())

    torch.manual_seed(1)
    first = weights(7)
    torch.manual_seed(2)
    assert torch.equal(weights(7), first)
    assert not torch.equal(weights(8), first)


def test_star_import_gives_the_public_names_and_no_more() -> None:
    scope: dict[str, object] = {}
    exec("from harden import *", scope)
    names = {name for name in scope if not name.startswith("__")}
    assert names == set(harden.__all__)
    assert len(names) <= 20
    assert names == {
        "AdversarialTraining",
        "Artefact",
        "Classifier",
        "HardenError",
        "Hardened",
        "L1",
        "L2",
        "LinearProbe",
        "Linf",
        "MoCo",
        "PGD",
        "Recipe",
        "SimCLR",
        "Standard",
        "TRADES",
        "Views",
        "evaluate",
        "harden",
        "certify",
        "load",
    }
    assert all(callable(scope[name]) for name in names)


@pytest.mark.parametrize("name", harden.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert getattr(harden, name) is getattr(harden, name)
    assert (getattr(harden, name).__doc__ or "").strip()
    assert name in dir(harden)


def test_modules_are_reached_by_their_path() -> None:
    assert harden.attacks.PGD is harden.PGD
    assert harden.deployed.evaluate is harden.evaluate
    assert {"attacks", "objectives", "evaluation", "__version__"} <= set(dir(harden))


def test_version_is_that_of_the_distribution() -> None:
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]["version"]
    assert harden.__version__ == stated


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'harden' has no attribute 'Base'"):
        harden.Base  # noqa: B018


def test_importing_it_loads_no_torch() -> None:
    script = "import sys, harden; harden.__version__; harden.HardenError; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


api: Any = harden  # mistakes that a type checker would name


@pytest.mark.parametrize(
    ("mistake", "instead"),
    [
        (lambda net, x, y: api.Classifier(net, mean=0.5, std=0.25), "mean=(0.5,)"),
        (lambda net, x, y: api.harden(api.Classifier(net), (x, y), threat="8/255"), "Linf("),
        (lambda net, x, y: api.harden(api.Classifier(net), (x, y), threat=api.Linf(0)), "Linf("),
        (
            lambda net, x, y: api.harden(api.Classifier(net), (x, y), threat=api.Linf("0.1"), budget=10),
            "10min",
        ),
        (lambda net, x, y: api.evaluate(net, (x, y), api.Linf("0.1")), "harden.Classifier("),
    ],
)
def test_plain_mistakes_are_answered_in_words(mistake: Any, instead: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(harden.HardenError) as caught:
        mistake(net, torch.rand(40, 1, 2, 2), torch.arange(40) % 2)
    assert instead in caught.value.instead
