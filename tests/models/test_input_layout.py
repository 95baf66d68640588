"""Arrangements of images as inputs of a file: the same numbers, and none where it is ambiguous."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from harden.models.input_layout import GradientFreeNetwork, InputAdapter, InputArrangement


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((3, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (4, 5, 3)),
        ((1, 4, 5), (20,)),
        ((1, 4, 5), (1, 20, 1)),
        ((1, 4, 5), (4, 5)),
        ((1, 4, 5), (4, 5, 1)),
    ],
    ids=str,
)
def test_inputs_hold_the_numbers_of_the_images(image: tuple[int, ...], size: tuple[int, ...]) -> None:
    arrangement = InputArrangement.between(image, size)
    assert arrangement is not None
    x = torch.rand(2, *image, generator=torch.Generator().manual_seed(0))
    found = arrangement(x)
    assert found.shape == (2, *size)
    for k in range(2):
        expected = x[k].numpy()
        expected = expected.transpose(1, 2, 0) if size == (*image[1:], image[0]) else expected
        assert found[k].flatten().tolist() == expected.flatten().tolist()


@pytest.mark.parametrize(
    ("image", "size"), [((3, 4, 5), (60,)), ((3, 4, 5), (3, 5, 4)), ((1, 4, 5), (5, 4)), ((1, 4, 5), (21,))]
)
def test_ambiguous_sizes_have_no_arrangement(image: tuple[int, ...], size: tuple[int, ...]) -> None:
    assert InputArrangement.between(image, size) is None


def test_where_two_layouts_have_one_size_channels_are_first() -> None:
    assert InputArrangement.between((3, 3, 3), (3, 3, 3)) == InputArrangement((3, 3, 3), (3, 3, 3))


def test_a_network_on_images_is_the_network_on_inputs() -> None:
    class Inner(nn.Linear):
        def get_classifier(self) -> nn.Module:
            return self

    inner = Inner(6, 3)
    adapter = InputAdapter(inner, InputArrangement((1, 2, 3), (6,)))
    x = torch.rand(4, 1, 2, 3)
    assert torch.equal(adapter(x), inner(x.reshape(4, 6)))
    assert adapter.get_classifier() is inner


def test_a_network_without_gradients_has_no_path_back_and_is_never_copied() -> None:
    def classify(x: Tensor) -> Tensor:
        assert not x.requires_grad
        return 2.0 * x.flatten(1)

    network = GradientFreeNetwork(classify)
    x = torch.rand(2, 1, 1, 3, requires_grad=True)
    logits = network(x)
    assert not logits.requires_grad
    assert torch.equal(logits, 2.0 * x.detach().flatten(1))
    assert copy.deepcopy(network) is network
    assert network.get_classifier() is network.output
