"""Selection of the logits in a network's output, and one logit as two classes."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models import Classifier

LOGITS = torch.arange(8.0).reshape(2, 4)
OTHER = torch.zeros(2, 3)
X = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))

Named = namedtuple("Named", ["scores", "features"])
WithLogits = namedtuple("WithLogits", ["logits", "aux_logits"])


@dataclass
class Result:
    scores: Tensor
    features: Tensor | None = None


@dataclass
class ResultWithLogits:
    loss: None
    logits: Tensor


class Returns(nn.Module):
    def __init__(self, made: object) -> None:
        super().__init__()
        self.head = nn.Identity()
        self.made = made

    def forward(self, x: Tensor) -> object:
        self.head(x)
        return self.made


def classifier(made: object, output: str | int | None = None) -> Classifier:
    return Classifier(Returns(made), head="head", output=output)


@pytest.mark.parametrize(
    ("made", "output"),
    [
        (LOGITS, None),
        (LOGITS, "scores"),  # a tensor is taken as it is: a network may return more in training
        (LOGITS, 1),
        ({"logits": LOGITS, "features": OTHER}, None),
        (OrderedDict(features=OTHER, logits=LOGITS), None),
        (WithLogits(LOGITS, OTHER), None),
        (ResultWithLogits(None, LOGITS), None),
        ({"scores": LOGITS, "features": OTHER}, "scores"),
        ({"scores": LOGITS, "logits": OTHER}, "scores"),
        ({0: OTHER, 1: LOGITS}, 1),
        ({"features": OTHER, "scores": LOGITS}, 1),
        ((LOGITS, OTHER), 0),
        ((OTHER, LOGITS), -1),
        ([OTHER, LOGITS], 1),
        (Named(LOGITS, OTHER), "scores"),
        (Named(LOGITS, OTHER), 0),
        (Result(LOGITS), "scores"),
    ],
)
def test_the_logits_are_found(made: object, output: str | int | None) -> None:
    model = classifier(made, output)
    assert torch.equal(model(X), LOGITS)
    assert torch.equal(model.logits(X), LOGITS)
    assert torch.equal(model.bare_logits(X), LOGITS)
    assert model.features(X).shape == (2, 48)


@pytest.mark.parametrize(
    ("made", "output", "seen", "instead"),
    [
        ((LOGITS, OTHER), None, "the network returned a tuple of 2", "Classifier(network, output=0)"),
        ([LOGITS], None, "the network returned a list of 1", "Classifier(network, output=0)"),
        (
            {"out": LOGITS},
            None,
            "the network returned a dict with 'out'",
            "Classifier(network, output='out')",
        ),
        (
            {"out": LOGITS, "aux": OTHER},
            "logit",
            "the network returned a dict with 'out', 'aux', which has no 'logit'",
            "Classifier(network, output='out')",
        ),
        ((LOGITS,), 3, "the network returned a tuple of 1, which has no 3", "output=0"),
        ((LOGITS,), "logits", "the network returned a tuple of 1, which has no 'logits'", "output=0"),
        (Named(LOGITS, OTHER), None, "the network returned a Named with 'scores', 'features'", "'scores'"),
        (Result(LOGITS), None, "the network returned a Result with 'scores', 'features'", "'scores'"),
        (None, None, "the network returned a NoneType", "wrap it in a module"),
        ("text", "logits", "the network returned a str, which has no 'logits'", "wrap it in a module"),
        ((), None, "the network returned a tuple of 0", "wrap it in a module"),
        ({"logits": [1]}, None, "the network's output 'logits', a list", "name another part"),
        ((OTHER.tolist(), LOGITS), 0, "the network's output 0, a list", "name another part"),
    ],
)
def test_what_holds_no_logits_is_refused(
    made: object, output: str | int | None, seen: str, instead: str
) -> None:
    """Five attack libraries of five crash on a dict, each in words of its own."""
    model = classifier(made, output)
    for call in (model, model.logits, model.features, model.bare_logits):
        with pytest.raises(InputError) as caught:
            call(X)
        assert caught.value.seen == seen
        assert caught.value.expected == "a tensor of logits"
        assert instead in caught.value.instead
        assert "\n" not in str(caught.value)


def test_many_names_are_cut() -> None:
    with pytest.raises(InputError, match=r"'0', '1', '2', '3', '4', '5', \.\.\."):
        classifier({str(number): LOGITS for number in range(9)})(X)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_logit_is_read_as_two_classes(shape: tuple[int, ...]) -> None:
    z = torch.tensor([-1.5, 2.0])
    logits = classifier(z.reshape(shape))(X)
    assert torch.equal(logits, torch.tensor([[0.0, -1.5], [0.0, 2.0]]))
    torch.testing.assert_close(logits.softmax(1)[:, 1], z.sigmoid())
    assert logits.argmax(1).tolist() == [0, 1]


def test_one_logit_in_a_part_of_the_output_is_read_so_too() -> None:
    assert classifier((OTHER, torch.ones(2)), 1)(X).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_the_gradient_of_one_logit_is_that_of_the_binary_cross_entropy() -> None:
    z = torch.tensor([[0.3], [-0.7]], requires_grad=True)
    y = torch.tensor([1, 0])
    two = nn.functional.cross_entropy(classifier(z)(X), y)
    one = nn.functional.binary_cross_entropy_with_logits(z[:, 0], y.float())
    torch.testing.assert_close(two, one)
    torch.testing.assert_close(torch.autograd.grad(two, z), torch.autograd.grad(one, z))


class MoreInTraining(nn.Module):
    """As torchvision's Inception: a tensor in inference, a named tuple with `.logits` in training."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.fc = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Any:
        logits = self.fc(x.flatten(1))
        return WithLogits(logits, logits * 2) if self.training else logits


def test_a_network_may_return_more_in_training() -> None:
    model = Classifier(MoreInTraining())
    assert torch.equal(model.train()(X), model.eval()(X))
    assert torch.equal(model.train().features(X), X.flatten(1))
