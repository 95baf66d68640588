"""Adapters from images to the input layout of a file: channels first, channels last, or one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

Shape = tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class InputArrangement:
    """Map from images (N, C, H, W) to inputs (N, *size) that hold the same numbers.

    Args:
        image: shape (C, H, W) of an image.
        size: shape of one input.
        channels_last: whether channels move behind height and width first.
    """

    image: Shape
    size: Shape
    channels_last: bool = False

    @classmethod
    def between(cls, image: Shape, size: Shape) -> InputArrangement | None:
        """Return the arrangement of images (C, H, W) as inputs of a size; None where it is ambiguous.

        A row of numbers is unambiguous for one channel alone: with several, it may begin with all of one
        channel or with all channels of one pixel.
        """
        channels, height, width = image
        if size == image:
            return cls(image, size)
        if size == (height, width, channels):
            return cls(image, size, channels_last=True)
        row = [number for number in size if number != 1]
        if channels == 1 and row in ([height * width], [height, width]):
            return cls(image, size)
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """The inputs (N, *size)."""
        found = x.movedim(1, -1) if self.channels_last else x
        return found.reshape(len(x), *self.size)


@final
class InputAdapter(nn.Module):
    """A network with inputs in another layout, as a network on images.

    Args:
        network: network on inputs (N, *size).
        arrangement: map from images to such inputs.
    """

    def __init__(self, network: nn.Module, arrangement: InputArrangement) -> None:
        super().__init__()
        self.network = network
        self.arrangement = arrangement

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        logits: Tensor = self.network(self.arrangement(x))
        return logits

    def get_classifier(self) -> nn.Module:
        """The network's own head."""
        head: nn.Module = self.network.get_classifier()  # type: ignore[operator]  # ours have one
        return head


@final
class NamedLogits(nn.Module):
    """The identity on logits, as a submodule that can be named."""

    def forward(self, x: Tensor) -> Tensor:
        """The logits, unchanged."""
        return x


@final
class GradientFreeNetwork(nn.Module):
    """A classifier without gradients, such as a runtime session, as a network.

    Args:
        classify: function from images (N, C, H, W) to logits (N, K).
    """

    def __init__(self, classify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.output = NamedLogits()
        self._classify = classify

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K), without a path back to x."""
        logits: Tensor = self.output(self._classify(x.detach()))
        return logits

    def get_classifier(self) -> nn.Module:
        """The module in the place of a head: the identity on logits."""
        return self.output

    def __deepcopy__(self, memo: object) -> GradientFreeNetwork:
        """Return the module itself: a runtime can't be copied and has no weights to change."""
        return self
