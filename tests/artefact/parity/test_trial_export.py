"""What can't be exported is refused before anything is spent on it, with the true cause in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.artefact.parity import parity_gated_export, trial_export
from harden.artefact.parity.trial_export import check_exportable
from harden.errors import ExportError
from harden.models import Classifier
from harden.threats import Linf
from harden.training.weights.weight_averaging import weights_of

THREAT = Linf("8/255")
Step = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """A network of a convolution, something, and a linear layer."""

    def __init__(self, step: Step, features: int = 256) -> None:
        super().__init__()
        self.conv, self.step, self.head = nn.Conv2d(1, 4, 3, padding=1), step, nn.Linear(features, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.step(self.conv(x)).flatten(1))
        return logits


def data(count: int = 15) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(count) % 4


def classifier(step: Step, features: int = 256) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(Net(step, features))


def test_a_network_that_can_be_exported_passes_and_is_left_as_it_was() -> None:
    model = classifier(torch.relu).train()
    before = {name: value.clone() for name, value in weights_of(model).items()}
    x, y = data()
    found = check_exportable(model, x, y, THREAT)
    assert found.parity.max_error <= found.parity.tolerance
    assert found.seconds > 0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_what_passed_is_not_tried_again_and_what_differs_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Classifier] = []
    real = parity_gated_export.exported

    def counted(model: Classifier, x: Tensor, y: Tensor, threat: Linf) -> object:
        tried.append(model)
        return real(model, x, y, threat)

    monkeypatch.setattr(trial_export, "exported", counted)
    monkeypatch.setattr(trial_export, "_passed", type(trial_export._passed)())
    x, y = data()
    first = classifier(torch.tanh)
    check_exportable(first, x, y, THREAT)
    check_exportable(classifier(torch.tanh), x, y, THREAT)
    assert len(tried) == 1, "the same code on the same shapes"
    with torch.no_grad():
        first.head.get_parameter("weight").add_(1)
    check_exportable(first, x, y, THREAT)
    assert len(tried) == 1, "other weights"
    check_exportable(classifier(torch.sin), x, y, THREAT)
    assert len(tried) == 2, "another function"
    with pytest.raises(ExportError):
        check_exportable(classifier(torch.lgamma), x, y, THREAT)
    with pytest.raises(ExportError):
        check_exportable(classifier(torch.lgamma), x, y, THREAT)
    assert len(tried) == 4, "what was refused is refused again"
    first.register_forward_hook(lambda module, inputs, output: None)
    check_exportable(first, x, y, THREAT)
    assert len(tried) == 5, "a hook may do anything"


class Gamma(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.lgamma(x + 1)


def branching(x: Tensor) -> Tensor:
    return x if bool(x.sum() > 0) else -x


def test_what_has_no_rule_for_bounds_is_refused_where_proofs_are_wanted() -> None:
    x, y = data()
    for step, operation in ((torch.sin, "Sin"), (lambda x: x.softmax(1), "Softmax")):
        check_exportable(classifier(step), x, y, THREAT)
        for _ in range(2):  # what passed without proofs has not passed with them
            with pytest.raises(ExportError) as refused:
                check_exportable(classifier(step), x, y, THREAT, proofs=True)
            assert "nothing can be proved (" in refused.value.seen
            assert operation in refused.value.seen
            assert refused.value.instead.endswith("leave out --prove: attacks need no bounds")
            assert "\n" not in str(refused.value)
    check_exportable(classifier(torch.relu), x, y, THREAT, proofs=True)


@pytest.mark.parametrize("images", ["all", "some"])
def test_a_class_masked_with_minus_infinity_is_named(images: str) -> None:
    """The answer is still the largest logit, but margins, their losses and the gate's distance have none."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            chosen = torch.ones_like(x[:, 0, 0, :1]) if images == "all" else x[:, 0, 0, :1]
            hidden = (chosen > 0.5) & torch.tensor([False, False, True, False])
            logits: Tensor = self.fc(x.flatten(1))
            return logits.masked_fill(hidden, -torch.inf)

    x, y = data()
    count = 15 if images == "all" else int((x[:, 0, 0, 0] > 0.5).sum())
    assert 0 < count <= 15
    with pytest.raises(ExportError) as refused:
        check_exportable(Classifier(Masked()), x, y, THREAT)
    assert refused.value.seen == f"logits of -inf for class 2 on {count} of 15 images"
    assert refused.value.instead == "mask the class with -1e4, or leave it out of the network"


REFUSED: dict[str, tuple[Step, str, str, str]] = {
    "an operator": (torch.lgamma, "aten.lgamma in the forward of Net", "torch.onnx has ONNX", "a polynomial"),
    "an operator in a part": (
        nn.Sequential(nn.ReLU(), Gamma()),
        "aten.lgamma in 'step.1' (Gamma)",
        "torch.onnx has ONNX",
        "a polynomial",
    ),
    "an operator that is taken apart": (
        lambda x: x.cumprod(2),
        "aten.cumprod in the forward of Net",
        "torch.onnx has ONNX",
        "cumsum",
    ),
    "control flow": (branching, "can't trace", "without data-dependent control flow", "torch.where"),
    "the batch's maximum": (
        lambda x: x / x.abs().max(),
        "with the rest of its batch",
        "to each image for itself",
        "x.amax((1, 2, 3)",
    ),
    "complex weights": (
        lambda x: torch.fft.ifft2(torch.fft.fft2(x) * torch.ones(8, 8, dtype=torch.complex64)).real,
        "that ONNX does not allow",
        "",
        "irfft2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_true_cause_is_named(name: str) -> None:
    step, seen, expected, instead = REFUSED[name]
    x, y = data()
    with torch.random.fork_rng(devices=[]), pytest.raises(ExportError) as caught:
        check_exportable(classifier(step), x, y, THREAT)
    assert seen in caught.value.seen
    assert expected in caught.value.expected
    assert instead in caught.value.instead
    assert "\n" not in str(caught.value)
    assert ("control flow" in str(caught.value)) == (name == "control flow")


OPERATORS: dict[str, Step] = {
    "adaptive maximum": lambda x: functional.adaptive_max_pool2d(x, (5, 3)).repeat(1, 1, 2, 3)[..., :8, :8],
    "randomised slopes": functional.rrelu,
    "empty windows": lambda x: functional.max_pool2d(x, 3, 3, 1, ceil_mode=True).repeat(1, 1, 3, 3)[
        ..., :8, :8
    ],
    "a divisor": lambda x: functional.avg_pool2d(x, 3, 1, 1, divisor_override=4),
}


def test_operators_that_the_exporter_lacks_or_has_wrong_are_exported() -> None:
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = OPERATORS

        def forward(self, x: Tensor) -> Tensor:
            for step in self.steps.values():
                x = step(x)
            return x

    x, y = data()
    found = check_exportable(classifier(All()), x, y, THREAT)
    assert found.parity.max_error <= found.parity.tolerance


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = data()
    with pytest.raises(ExportError):
        check_exportable(classifier(torch.lgamma), x, y, THREAT)
    assert list(tmp_path.iterdir()) == []
