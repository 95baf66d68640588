"""Classifier over shapes, types and layouts against the composition written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.errors import InputError
from harden.models import Classifier

pytestmark = pytest.mark.usefixtures("rng_untouched")

FEATURES, CLASSES = 5, 3


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": torch.clone,
    "channels_last": lambda x: x.clone(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "offset": lambda x: torch.cat([x.new_zeros(1, *x.shape[1:]), x])[1:],
    "requires_grad": lambda x: x.clone().requires_grad_(),
    "inference": _inference,
}
SHAPES = st.tuples(st.integers(0, 4), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5))
TYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


def _network(channels: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = [nn.Conv2d(channels, FEATURES, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*body, nn.Linear(FEATURES, CLASSES)).eval()


def _images(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(SHAPES, st.integers(0, 99), TYPES, st.sampled_from(sorted(LAYOUTS)), st.booleans(), st.data())
def test_logits_and_features_are_the_composition_written_out(
    shape: tuple[int, int, int, int],
    seed: int,
    dtype: torch.dtype,
    layout: str,
    normalised: bool,
    data: st.DataObject,
) -> None:
    channels = shape[1]
    mean = [data.draw(st.floats(0, 1)) for _ in range(channels)]
    std = [data.draw(st.floats(0.05, 2)) for _ in range(channels)]
    network, x = _network(channels, seed).to(dtype), _images(shape, seed)
    model = Classifier(network, mean, std) if normalised else Classifier(network)
    there = LAYOUTS[layout](x)
    by_hand = x
    if normalised:
        by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(channels)], dim=1)
    with torch.no_grad():
        expected_features = network[:-1](by_hand.to(dtype))
        expected = network[-1](expected_features).float()
        found, features = model(there), model.features(there)
    # Rounding to the network's type may fall to the other side where a pixel is off by its last float32 bit.
    room = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-2, torch.bfloat16: 5e-1}[dtype]
    torch.testing.assert_close(found, expected, rtol=room, atol=room)
    torch.testing.assert_close(features, expected_features.float(), rtol=room, atol=room)
    assert (found.shape, features.shape) == ((shape[0], CLASSES), (shape[0], FEATURES))
    assert found.dtype == features.dtype == torch.float32
    assert torch.equal(there, x)


@given(SHAPES, st.integers(0, 99), st.sampled_from(sorted(LAYOUTS)), st.booleans())
def test_the_network_is_left_as_it_is(
    shape: tuple[int, int, int, int], seed: int, layout: str, training: bool
) -> None:
    network = _network(shape[1], seed).train(training)
    before = copy.deepcopy(network.state_dict())
    model = Classifier(network, (0.5,) * shape[1], (0.25,) * shape[1])
    model(LAYOUTS[layout](_images(shape, seed)))
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


@given(st.integers(1, 4), st.integers(0, 99), st.data())
def test_an_image_has_its_logits_in_any_batch(n: int, seed: int, data: st.DataObject) -> None:
    model, x = Classifier(_network(3, seed), (0.5,) * 3, (0.25,) * 3), _images((n, 3, 4, 4), seed)
    order = torch.tensor(data.draw(st.permutations(range(n))), dtype=torch.int64)
    torch.testing.assert_close(model(x[order]), model(x)[order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(x[:1]), model(x)[:1], rtol=1e-5, atol=1e-6)


@given(st.integers(0, 99), st.sampled_from(["low", "high", "nan", "shape", "integer"]))
def test_what_is_no_image_is_refused_in_three_parts(seed: int, how: str) -> None:
    x = _images((2, 3, 4, 4), seed)
    if how in ("low", "high", "nan"):
        x[1, 2, 3, 0] = {"low": -0.01, "high": 1.01, "nan": float("nan")}[how]
    bad = {"shape": x[0], "integer": (255 * x).to(torch.uint8)}.get(how, x)
    with pytest.raises(InputError) as caught:
        Classifier(_network(3, seed))(bad)
    assert all((caught.value.seen, caught.value.expected, caught.value.instead))
    assert "\n" not in str(caught.value)
