"""The networks that users start from: torchvision's and timm's, with fresh weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tests.models.zoo import Case


def _torchvision(name: str, size: int, classes: int = 10) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from harden.models.named_networks import torchvision_network

        return torchvision_network(name, classes, (3, size, size))

    return make


def _large(name: str, head: str, size: int = 32, classes: int = 10) -> Case:
    return Case(
        _torchvision(name, size, classes), head, size=size, classes=classes, mean=(0.485, 0.456, 0.406)
    )


TORCHVISION: dict[str, Case] = {
    "resnet18": _large("resnet18", "fc"),
    "resnet18, 1000 classes, 64 pixels": _large("resnet18", "fc", 64, 1000),
    "resnet50": _large("resnet50", "fc", 32, 1000),
    "mobilenet_v3_large": _large("mobilenet_v3_large", "classifier.3", 64),
    "efficientnet_b0": _large("efficientnet_b0", "classifier.1"),
    "convnext_tiny": _large("convnext_tiny", "classifier.2", 64),
    "vit_b_16": _large("vit_b_16", "heads.head", 32),
    "squeezenet1_1": _large("squeezenet1_1", "classifier.1", 64),
    "googlenet": _large("googlenet", "fc"),
}


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=10, **options)
        return network

    return make


TIMM: dict[str, Case] = {
    "resnet10t": Case(_timm("resnet10t"), "fc", size=32, classes=10),
    "mobilenetv3_small_050": Case(_timm("mobilenetv3_small_050"), "classifier", size=32, classes=10),
    "resnetv2_50": Case(_timm("resnetv2_50"), "head.fc", size=32, classes=10),
    "convnext_atto": Case(_timm("convnext_atto"), "head.fc", size=64, classes=10),
    "vit_tiny_patch16_224": Case(_timm("vit_tiny_patch16_224", img_size=32), "head", size=32, classes=10),
    # Two heads on two tokens, whose logits are averaged: the features are those of the first.
    "deit_tiny_distilled_patch16_224": Case(
        _timm("deit_tiny_distilled_patch16_224", img_size=32), "head", size=32, classes=10, alone=False
    ),
}
