"""Networks that can't be hardened or exported are refused in three parts, with the right reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.data import Examples
from harden.errors import HardenError, InputError
from harden.evaluation import evaluate, pgd_suite
from harden.hardening import Recipe, harden
from harden.models import Classifier
from harden.objectives import LinearProbe, SimCLR
from harden.threats import Linf
from tests.models.traits import convolutional
from tests.models.zoo import CLASSES, TwoHeads, Wrapped, body

THREAT = Linf("8/255")


class Own(nn.Module):
    """A network with a forward that says what happens before and after its layers."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.body = body(batch_norm=False)
        self.how = forward

    def forward(self, x: Tensor) -> Any:
        return self.how(self.body, x)


def branching(network: nn.Module, x: Tensor) -> Any:
    logits = network(x)
    return logits if logits.sum() > 0 else -logits


def stochastic(network: nn.Module, x: Tensor) -> Any:
    return network(x + 0.1 * torch.rand_like(x))


def always_dropping(network: nn.Module, x: Tensor) -> Any:
    return network(nn.functional.dropout(x, 0.5, training=True))


def in_numpy(network: nn.Module, x: Tensor) -> Any:
    return network(torch.from_numpy(x.detach().numpy()).to(x.dtype))


def of_six(network: nn.Module, x: Tensor) -> Any:
    return network(x.reshape(6, 3, 8, 8))


def averaged(network: nn.Module, x: Tensor) -> Any:
    """Uses the other images of the batch."""
    return network(x - x.mean(0, keepdim=True))


def infinite(network: nn.Module, x: Tensor) -> Any:
    return network(x) / 0


def under_autocast(network: nn.Module, x: Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return network(x).float()


def in_half(network: nn.Module, x: Tensor) -> Any:
    """A type that is written into the forward, with weights of that type."""
    return network(x.to(torch.bfloat16))


@dataclass(frozen=True)
class Refusal:
    """A network, and what is said of it where."""

    make: Callable[[], nn.Module]
    seen: str
    expected: str
    instead: str
    output: str | int | None = None


EXPORT: dict[str, Refusal] = {
    "data-dependent": Refusal(
        lambda: Own(branching), "can't trace", "without data-dependent control flow", "torch.where"
    ),
    "stochastic": Refusal(
        lambda: Own(stochastic), "between two forwards", "the same logits for the same images", "randomness"
    ),
    "dropout that is always on": Refusal(
        lambda: Own(always_dropping), "between two forwards", "the same logits", "training-mode layers"
    ),
    "numpy inside": Refusal(
        lambda: Own(in_numpy), "does not depend on the image", "a differentiable path", "numpy from the model"
    ),
    "hard-coded batch": Refusal(
        lambda: Own(of_six), "fails on 2 images of shape (3, 8, 8)", "in batches of any size", "x.shape"
    ),
    "another size": Refusal(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(300, 3)),
        "fails on 2 images",
        "built for",
        "resize them",
    ),
    "a tuple": Refusal(
        lambda: Wrapped(lambda z, x: (z, x)), "returned a tuple of 2", "a tensor of logits", "output=0"
    ),
    "across the batch": Refusal(
        lambda: Own(averaged), "with the rest of its batch", "each image for itself", "by each image"
    ),
    "infinite": Refusal(lambda: Own(infinite), "logits that are not finite", "a number for each class", ""),
    "autocast": Refusal(
        lambda: Own(under_autocast),
        "a graph that ONNX does not allow",
        "operations in float32",
        "leave autocast",
    ),
    "a type in the forward": Refusal(
        lambda: Own(in_half).bfloat16(), "fails with float32 weights", "follows the type", "self.weight.dtype"
    ),
}


def made(case: Refusal) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Classifier(case.make(), output=case.output)


def images(count: int = 6) -> Examples:
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Examples(x, torch.arange(count) % CLASSES, ("a", "b", "c"), "noise")


def check(error: HardenError, case: Refusal) -> None:
    assert case.seen in error.seen
    assert case.expected in error.expected
    assert case.instead in error.instead
    assert "\n" not in str(error)


@pytest.mark.parametrize("name", EXPORT)
def test_what_no_file_can_hold(name: str, tmp_path: Path) -> None:
    case = EXPORT[name]
    with torch.random.fork_rng(devices=[]), pytest.raises(HardenError) as caught:
        export(made(case), tmp_path / "out", images(15), Claim(threat=THREAT, attempts=pgd_suite(1, 1)))
    check(caught.value, case)
    assert not (tmp_path / "out").exists()


OUTPUT: dict[str, Refusal] = {
    "tuple": Refusal(
        lambda: Wrapped(lambda z, x: (z, x)),
        "a tuple of 2",
        "a tensor of logits",
        "Classifier(network, output=0)",
    ),
    "dict": Refusal(
        lambda: Wrapped(lambda z, x: {"out": z}), "a dict with 'out'", "a tensor of logits", "output='out'"
    ),
    "no such part": Refusal(
        lambda: Wrapped(lambda z, x: {"out": z}),
        "which has no 'outs'",
        "a tensor of logits",
        "output='out'",
        "outs",
    ),
    "feature maps": Refusal(
        lambda: Wrapped(lambda z, x: z[:, :, None, None]), "shape (2, 3, 1, 1)", "(2, classes)", "wrap it"
    ),
    "no classes": Refusal(lambda: Wrapped(lambda z, x: z[:, :0]), "shape (2, 0)", "(2, classes)", "wrap it"),
    "half the images": Refusal(
        lambda: Wrapped(lambda z, x: z[:1]), "shape (1, 3)", "(2, classes)", "wrap it"
    ),
}


@pytest.mark.parametrize("name", OUTPUT)
def test_what_are_no_logits(name: str) -> None:
    case = OUTPUT[name]
    with pytest.raises(HardenError) as caught:
        harden(made(case), images(), threat=THREAT, recipe=Recipe(finetune=LinearProbe()), budget="1epochs")
    check(caught.value, case)


@pytest.mark.parametrize(
    ("make", "seen"),
    [(convolutional, "the head 'top', a Conv2d"), (TwoHeads, "the head 'rotation' did not run")],
)
def test_contrast_needs_the_features_of_a_linear_head(make: Callable[[], nn.Module], seen: str) -> None:
    with torch.random.fork_rng(devices=[]):
        model = Classifier(make())
    recipe = Recipe(pretrain=SimCLR(), validations=0)
    with pytest.raises(HardenError) as caught:
        harden(model, images(), threat=THREAT, recipe=recipe, budget="2epochs")
    assert caught.value.seen == seen
    assert "head=" in caught.value.instead


def recomputing(network: nn.Module, x: Tensor) -> Any:
    return checkpoint(network, x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs:UserWarning")  # torch's, in a forward without gradient
def test_what_torch_cannot_differentiate_is_named() -> None:
    with torch.random.fork_rng(devices=[]):
        model = Classifier(Own(recomputing))
    data = images()
    for act in (
        lambda: evaluate(model, data, THREAT, pgd_suite(1, 1)),
        lambda: harden(model, data, threat=THREAT, budget="1epochs"),
    ):
        with pytest.raises(InputError, match="checkpoint in its reentrant form") as caught:
            act()
        assert "use_reentrant=False" in caught.value.instead
        assert "\n" not in str(caught.value)


def test_too_few_logits_for_the_labels() -> None:
    with torch.random.fork_rng(devices=[]):
        model = Classifier(body(1))
    with pytest.raises(HardenError) as caught:
        evaluate(model, images(), THREAT, pgd_suite(1, 1))
    assert "labels" in caught.value.seen
    assert "\n" not in str(caught.value)
