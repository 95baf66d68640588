"""Classifier: normalisation inside, features of the head, and errors for networks that are none."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.errors import InputError
from harden.models import Classifier

pytestmark = pytest.mark.usefixtures("rng_untouched")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Returns(nn.Module):
    """A network that gives back whatever a user's network might."""

    def __init__(self, made: object) -> None:
        super().__init__()
        self.head = nn.Identity()
        self.made = made

    def forward(self, x: Tensor) -> object:
        return self.made


class TwoHeads(nn.Module):
    """The last linear layer by position is not the one that makes the logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.fc = body
        self.auxiliary = _linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.flatten(1))
        return logits


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose weights come from no global generator."""
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(inputs, outputs)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
    return layer


def test_without_mean_and_std_it_is_the_network(network: nn.Module, images: Tensor) -> None:
    network.eval()
    model = Classifier(network)
    assert torch.equal(model(images), network(images))
    assert torch.equal(model.logits(images), network(images))


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ([0.5], [0.5]), ((0.0, 0.1, 0.2), (1.0, 2.0, 3.0))])
def test_normalisation_is_the_first_layer(
    mean: Sequence[float], std: Sequence[float], network: nn.Module, images: Tensor
) -> None:
    network.eval()
    per_channel = [(images[:, c] - mean[c % len(mean)]) / std[c % len(std)] for c in range(3)]
    by_hand = torch.stack(per_channel, dim=1)
    model = Classifier(network, mean, std)
    torch.testing.assert_close(model.normalise(images), by_hand)
    torch.testing.assert_close(model(images), network(by_hand))


def test_normalisation_moves_is_saved_and_is_no_parameter(network: nn.Module, images: Tensor) -> None:
    model = Classifier(network, MEAN, STD).eval()
    assert dict(model.named_parameters()).keys() == {f"network.{n}" for n, _ in network.named_parameters()}
    assert {"harden_mean", "harden_std"} < model.state_dict().keys()
    assert not {"mean", "std", "image", "logits"} & model.state_dict().keys()
    again = Classifier(copy.deepcopy(network), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images), model(images))


def test_the_network_is_shared_and_left_as_it_is(network: nn.Module) -> None:
    before = [(part, part.training) for part in network.modules()]
    flags = [weight.requires_grad for weight in network.parameters()]
    model = Classifier(network, MEAN, STD)
    assert model.network is network
    assert [(part, part.training) for part in network.modules()] == before
    assert [weight.requires_grad for weight in network.parameters()] == flags


# Features


def test_features_are_what_the_head_receives(network: nn.Sequential, images: Tensor) -> None:
    network.eval()
    model = Classifier(network, MEAN, STD)
    features = model.features(images)
    assert features.shape == (16, 128)
    torch.testing.assert_close(features, network[:-1](model.normalise(images)))
    torch.testing.assert_close(model.head(features), model(images))


def test_features_carry_gradients_and_leave_no_hook(network: nn.Module, images: Tensor) -> None:
    network.eval()
    model, x = Classifier(network), images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.features(x).sum(), x)
    assert bool((gradient != 0).any())
    assert [len(part._forward_pre_hooks) for part in model.modules()] == [0] * len(list(model.modules()))


def test_no_hook_is_left_when_the_network_raises(network: nn.Module) -> None:
    model = Classifier(network)
    with pytest.raises(RuntimeError):
        model.features(torch.zeros(2, 5, 8, 8))
    assert not model.head._forward_pre_hooks


def test_the_head_is_the_last_linear_layer_or_the_one_that_is_named(
    network: nn.Module, images: Tensor
) -> None:
    assert Classifier(network).head is network.get_submodule("8")
    two = TwoHeads(_linear(192, 4))
    assert Classifier(two).head_name == "auxiliary"
    model = Classifier(two, head="fc")
    assert model.head is two.fc
    assert torch.equal(model.features(images), images.flatten(1))


def test_a_head_deeper_inside_is_found_by_its_path(images: Tensor) -> None:
    network = nn.Sequential(OrderedDict(body=nn.Flatten(), top=nn.Sequential(_linear(192, 4), nn.Identity())))
    model = Classifier(network)
    assert model.head_name == "top.0"
    assert torch.equal(model.features(images), images.flatten(1))
    by_name = Classifier(network, head="top")
    assert by_name.head is network.get_submodule("top")
    assert torch.equal(by_name.features(images), images.flatten(1))


def test_features_with_a_shape_are_flattened(images: Tensor) -> None:
    network = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), head=nn.Flatten()))
    assert Classifier(network, head="head").features(images).shape == (16, 48)


def test_a_head_that_is_missing_is_an_error(network: nn.Module) -> None:
    with pytest.raises(InputError, match="head 'classifier'; expected the name of a submodule"):
        Classifier(network, head="classifier")
    with pytest.raises(InputError) as caught:
        Classifier(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()))
    assert caught.value.seen == "a network without a linear layer"
    assert caught.value.instead == "name it: Classifier(network, head=...)"


def test_a_head_that_does_not_run_is_an_error(images: Tensor) -> None:
    model = Classifier(TwoHeads(_linear(192, 4)))
    with pytest.raises(InputError) as caught:
        model.features(images)
    assert caught.value.seen == "the head 'auxiliary' did not run"
    assert "head=" in caught.value.instead


# Errors


@pytest.mark.parametrize(
    ("made", "seen"),
    [
        (torch.tensor(0.0), "shape ()"),
        (torch.zeros(12), "shape (12,)"),
        (torch.zeros(16, 0), "shape (16, 0)"),
        (torch.zeros(16, 4, 1), "shape (16, 4, 1)"),
        (torch.zeros(1, 4), "shape (1, 4)"),
    ],
)
def test_what_is_no_logits_is_refused(made: object, seen: str, images: Tensor) -> None:
    model = Classifier(Returns(made), head="head")
    for call in (model, model.logits, model.features):
        with pytest.raises(InputError) as caught:
            call(images)
        assert caught.value.seen == f"the network returned {seen}"
        assert caught.value.expected == "logits of shape (16, classes)"


@pytest.mark.parametrize(
    ("mean", "std", "seen"),
    [
        (MEAN, None, "mean without std"),
        (None, STD, "std without mean"),
        (MEAN, (0.5,), "3 means and 1 deviations"),
        (MEAN, (0.2, 0.0, 0.2), "std (0.2, 0.0, 0.2)"),
        (MEAN, (0.2, -0.1, 0.2), "std (0.2, -0.1, 0.2)"),
        (MEAN, (0.2, math.nan, 0.2), "std (0.2, nan, 0.2)"),
    ],
)
def test_mean_and_std_must_fit_together(
    mean: Sequence[float] | None, std: Sequence[float] | None, seen: str, network: nn.Module
) -> None:
    with pytest.raises(InputError) as caught:
        Classifier(network, mean, std)
    assert caught.value.seen == seen


def test_a_grey_image_does_not_become_a_coloured_one(network: nn.Module, images: Tensor) -> None:
    """(N, 1, H, W) - (1, 3, 1, 1) broadcasts to three channels, and the network would never know."""
    model = Classifier(network.eval(), MEAN, STD)
    with pytest.raises(InputError) as caught:
        model(images[:, :1])
    assert caught.value.seen == "images with 1 channels and a mean of 3"
    model(images)


def test_pixels_are_checked_by_forward_and_not_by_logits(network: nn.Module, images: Tensor) -> None:
    model = Classifier(network.eval())
    with pytest.raises(InputError, match="divide by 255"):
        model(images * 255)
    assert model.logits(images * 255).shape == (16, 4)


# Types


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.6)])
def test_weights_of_another_precision_take_float32_images(
    dtype: torch.dtype, tolerance: float, network: nn.Module, images: Tensor
) -> None:
    network.eval()
    expected = Classifier(copy.deepcopy(network), MEAN, STD)(images)
    model = Classifier(network.to(dtype), MEAN, STD)
    logits, features = model(images), model.features(images)
    assert (logits.dtype, features.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)
    # Normalised in float32 first: a pixel rounded to bfloat16 before would lose what the mean leaves over.
    first = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(first).sum(), first)
    assert gradient.dtype == torch.float32


def test_the_whole_classifier_may_be_converted(network: nn.Module, images: Tensor) -> None:
    network.eval()
    model = Classifier(network, MEAN, STD).to(torch.float64)
    assert model.normalise(images).dtype == torch.float64
    assert model(images).dtype == torch.float32


def test_integer_weights_do_not_turn_pixels_into_integers(images: Tensor) -> None:
    """A quantised layer keeps its codes as a parameter; casting the image to their type leaves 0 and 1."""
    network = nn.Sequential(nn.Flatten(), _linear(192, 4))
    network[0].register_parameter(
        "codes", nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    )
    assert next(network.parameters()).dtype == torch.int8
    assert torch.equal(Classifier(network)(images), network(images))


def test_a_network_without_parameters_takes_images_as_they_are(images: Tensor) -> None:
    model = Classifier(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), head="1")
    assert model(images).shape == (16, 12)
    assert model.device == torch.device("cpu")


class InPlace(nn.Module):
    """Writes on what it is given before anything else, or in training mode alone."""

    def __init__(self, write: Callable[[Tensor], object], only_training: bool = False) -> None:
        super().__init__()
        self.write, self.only_training = write, only_training
        self.head = _linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.only_training:
            self.write(x)
        logits: Tensor = self.head(x.flatten(1))
        return logits


def _first_channel(x: Tensor) -> None:
    x[:, 0] = 2 * x[:, 1]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.sub_(0.5),
        functional.relu_,
        nn.ReLU(inplace=True),
        lambda x: x.mul_(2).add_(1),
        _first_channel,
    ],
)
@pytest.mark.parametrize("only_training", [False, True])
def test_a_first_layer_that_works_in_place_leaves_the_images_alone(
    write: Callable[[Tensor], object], only_training: bool, images: Tensor
) -> None:
    model = Classifier(InPlace(write, only_training))
    before = images.clone()
    other = before - 0.25
    written = other.clone()
    write(written)
    expected = model.network.head(written.flatten(1))  # type: ignore[operator]  # a linear layer
    assert torch.equal(model.logits(other), expected)
    assert torch.equal(other, before - 0.25)
    # The gradient is that of the same function written out of place, at a leaf.
    leaf, point = other.clone().requires_grad_(), other.clone().requires_grad_()
    (found,) = torch.autograd.grad(model.logits(leaf).square().sum(), leaf)
    copy = point.clone()
    write(copy)
    head: Any = model.network.head
    (gradient,) = torch.autograd.grad(head(copy.flatten(1)).square().sum(), point)
    assert torch.equal(found, gradient)


def test_an_empty_batch_has_no_logits(network: nn.Module, images: Tensor) -> None:
    assert Classifier(network.eval(), MEAN, STD)(images[:0]).shape == (0, 4)
