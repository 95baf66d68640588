"""The networks that are attacked: a small CNN, a CIFAR ResNet-18, and ResNet-50 where torchvision is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.models import Classifier

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
SETTLING = 4
"""Forward passes in training mode that set BatchNorm's statistics."""


def small(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """Four convolutions with BatchNorm and two dense layers: 117,520 parameters at 3 x 32 x 32."""
    side = -(-size // 4) // 2
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64 * side * side, 50), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(50, classes))


@final
class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps to feature maps."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


def resnet18(classes: int = 10, width: int = 64) -> nn.Sequential:
    """ResNet-18 for 32 x 32: a 3x3 stem, no pooling behind it; 11,173,962 parameters at width 64."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    inputs = width
    for stage in range(4):
        outputs = width << stage
        layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


@final
class Normalised(nn.Module):
    """The network as every library but harden gets it: plain torch, normalisation inside."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) with pixels in [0, 1]."""
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


@final
@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What all contenders attack: one set of weights in two wrappings, images, and their labels."""

    ours: Classifier
    theirs: nn.Module
    x: Tensor
    y: Tensor

    @property
    def parameters(self) -> int:
        """How many weights the network has."""
        return sum(weight.numel() for weight in self.theirs.parameters())

    def with_images(self, x: Tensor, y: Tensor) -> Subject:
        """The same network on other images."""
        return Subject(self.ours, self.theirs, x, y)


def subject_of(network: nn.Module, x: Tensor, y: Tensor, normalised: bool = True) -> Subject:
    """Wrap a network for harden and for the others, in inference mode."""
    channels = x.shape[1]
    mean, std = (MEAN, STD) if normalised and channels == 3 else ((0.0,) * channels, (1.0,) * channels)
    theirs = Normalised(network, mean, std).to(x.device).eval()
    return Subject(Classifier(theirs.network, mean, std).to(x.device).eval(), theirs, x, y)


def random_subject(
    network: nn.Module, batch: int, size: int, device: str = "cpu", channels: int = 3
) -> Subject:
    """A network as initialised on random images, its statistics settled, its own answers as labels.

    For fixed steps weights hardly matter; with its own answers as labels every image counts as answered
    right at first, so that nobody drops any at the start. The last bias is shifted until the mean logit of
    every class is 0: otherwise it answers all images alike, and no attack would find an error to look into.
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batch, channels, size, size, generator=generator).to(device)
    subject = subject_of(network, x, torch.zeros(batch, dtype=torch.int64, device=device))
    with torch.no_grad():
        subject.theirs.train()
        for _ in range(SETTLING):
            subject.theirs(x)
        subject.theirs.eval()
        last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
        last.bias.sub_(subject.theirs(x).mean(0))
        return subject.with_images(x, subject.theirs(x).argmax(1))
