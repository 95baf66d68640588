"""Networks by their names: torchvision's classifiers, their sizes, and refusals with the reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.errors import InputError
from harden.models.named_networks import build_network, torchvision_network


def test_torchvisions_networks_without_auxiliary_classifiers() -> None:
    with torch.random.fork_rng(devices=[]):
        network = torchvision_network("googlenet", 4, (3, 64, 64)).train()
        assert isinstance(network(torch.rand(2, 3, 64, 64)), torch.Tensor)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fasterrcnn_resnet50_fpn", "a detector"),
        ("fcn_resnet50", "a network for segmentation"),
        ("r3d_18", "a network for videos"),
        ("raft_small", "a network for optical flow"),
        ("quantized_resnet18", "a quantised network, which has no gradients"),
    ],
)
def test_what_does_not_classify_images_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        torchvision_network(name, 4, (3, 32, 32))
    assert caught.value.seen == f"torchvision model {name!r}, {reason}"
    assert caught.value.expected == "an image classifier"


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("resnet18", (1, 8, 8), "'resnet18' for 8x8 images with 1 channels"),
        ("vit_b_16", (3, 30, 30), "Input shape indivisible by patch size"),
        ("maxvit_t", (3, 64, 64), "'maxvit_t' for 64x64 images with 3 channels ("),
    ],
)
def test_images_that_a_network_does_not_take(name: str, shape: tuple[int, int, int], reason: str) -> None:
    with pytest.raises(InputError) as caught, torch.device("meta"):
        torchvision_network(name, 4, shape)
    assert reason in caught.value.seen
    assert "\n" not in str(caught.value)


def test_a_vision_transformer_is_built_for_the_images() -> None:
    with torch.device("meta"):
        network = torchvision_network("vit_b_16", 4, (3, 32, 32))
    assert isinstance(network, nn.Module)
    assert network.image_size == 32


@pytest.mark.slow
def test_every_classifier_of_torchvision_builds_and_has_a_head() -> None:
    from torchvision import models

    from harden.models.find_head import find_head

    names = models.list_models(module=models)
    assert len(names) > 70
    for name in names:
        size = 224 if name.startswith(("vit_h", "maxvit")) else 64
        # On the meta device, but for those that look at their weights as they are built: small ones of these.
        if name.startswith("regnet") and not name.endswith(("400mf", "800mf")):
            continue
        with torch.random.fork_rng(devices=[]), torch.device("cpu" if "regnet" in name else "meta"):
            network = torchvision_network(name, 7, (3, size, size))
        head = network.get_submodule(find_head(network, None).name)
        assert 7 in (getattr(head, "out_features", None), getattr(head, "out_channels", None)), name


def test_the_small_network_and_unknown_names() -> None:
    with torch.random.fork_rng(devices=[]):
        network = build_network("small", (1, 8, 8), 4)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    for spec, instead in (
        ("smal", "did you mean small?"),
        ("torchvison", "did you mean torchvision?"),
        ("anything", "write --model small, for instance"),
    ):
        with pytest.raises(InputError) as caught:
            build_network(spec, (1, 8, 8), 4)
        assert (caught.value.seen, caught.value.instead) == (f"model {spec!r}", instead)
    with pytest.raises(InputError, match="a bare ONNX file"):
        build_network("model.onnx", (1, 8, 8), 4)
    with pytest.raises(InputError, match="did you mean resnet18"):
        build_network("torchvision:resnet_18", (3, 32, 32), 4)
