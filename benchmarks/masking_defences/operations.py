"""Operations of the defences on images, activations and logits, most of them without a useful gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

Operation = Callable[[Tensor], Tensor]


@final
class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Operation) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.function(x)


def identity(x: Tensor) -> Tensor:
    """The argument itself."""
    return x


def straight_through(function: Operation) -> Operation:
    """The function with the gradient of the identity (Bengio et al., 1308.3432)."""
    return lambda x: x + (function(x) - x).detach()


# Of images.


def depth(x: Tensor, levels: int = 8) -> Tensor:
    """Pixels rounded to so many steps."""
    return torch.round(x * levels) / levels


def transform_coded(x: Tensor, step: float = 0.25) -> Tensor:
    """Each 8 x 8 block's cosine coefficients rounded to multiples of a step, as JPEG does."""
    height, width = x.shape[2:]
    padded = nn.functional.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    basis = _cosines().to(x)
    tiled = padded.unfold(2, 8, 8).unfold(3, 8, 8)
    coefficients = torch.round(basis @ tiled @ basis.T / step) * step
    back = (basis.T @ coefficients @ basis).permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
    return back[:, :, :height, :width].clamp(0, 1)


def _cosines() -> Tensor:
    places = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi / 8 * (places + 0.5) * places[:, None]) / 2
    basis[0] /= math.sqrt(2)
    return basis


def hashed_noise(x: Tensor, size: float = 0.1) -> Tensor:
    """Pixels x + size (2 h - 1), h in [0, 1) a hash of the pixel's value and place."""
    place = torch.arange(x[0].numel(), device=x.device).view(x.shape[1:])
    value = (x.detach().clamp(0, 1) * (1 << 20)).long()
    unit = (mixed(value + place * 40503) & 0xFFFFFF).to(x.dtype) / (1 << 24)
    return (x + size * (2 * unit - 1)).clamp(0, 1)


def mixed(value: Tensor) -> Tensor:
    """Pseudo-random whole numbers below 2^32, from whole numbers: int64 of the same shape."""
    value = (value * 2654435761 + 12345) & 0xFFFFFFFF
    value = ((value ^ (value >> 15)) * 2246822519) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 3266489917) & 0xFFFFFFFF
    return value ^ (value >> 16)


def median(x: Tensor, side: int = 3) -> Tensor:
    """The median of each pixel's 3 x 3 neighbourhood, the border repeated."""
    pad = side // 2
    padded = nn.functional.pad(x, (pad, pad, pad, pad), mode="replicate")
    return padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4).median(-1).values


# Of activations.


def staircase(h: Tensor, step: float = 0.5) -> Tensor:
    """A ReLU that rises in steps: its gradient is 0 wherever it has one."""
    return torch.floor(h.clamp(min=0) / step) * step


def winners(h: Tensor, share: float = 0.3) -> Tensor:
    """The largest share of an image's activations, 0 elsewhere (k-WTA, Xiao et al., 1905.10510)."""
    flat = h.flatten(1)
    kept = max(1, int(share * flat.shape[1]))
    threshold = flat.topk(kept, 1).values[:, -1:]
    return torch.where(flat >= threshold, flat, torch.zeros_like(flat)).view_as(h)


# Of logits.


def one_hot(z: Tensor) -> Tensor:
    """1 at the largest logit, 0 elsewhere."""
    return nn.functional.one_hot(z.argmax(1), z.shape[1]).to(z)


def two_levels(z: Tensor) -> Tensor:
    """The sign of each logit against the midpoint of the two largest."""
    two = z.topk(2, 1).values
    return torch.where(z >= two[:, :1], 1.0, torch.sign(z - two.mean(1, keepdim=True)))


def quantised(z: Tensor, step: float = 1.0) -> Tensor:
    """Logits rounded to multiples of a step; ties go to the class that was ahead."""
    return torch.round(z / step) * step + 0.25 * step * one_hot(z)


def rounded_probabilities(z: Tensor) -> Tensor:
    """The softmax with two decimals."""
    return torch.round(100 * torch.softmax(z, 1)) / 100 + 1e-3 * one_hot(z)


def two_likeliest(z: Tensor) -> Tensor:
    """The probabilities of the two likeliest classes with one decimal, 0 elsewhere."""
    two = z >= z.topk(2, 1).values[:, 1:]
    return torch.where(two, torch.round(10 * torch.softmax(z, 1)) / 10, torch.zeros_like(z)) + 1e-2 * one_hot(
        z
    )


def saturated(z: Tensor, temperature: float = 40.0) -> Tensor:
    """A softmax so cold that it is 0 and 1."""
    return torch.softmax(temperature * z, 1)


def clamped(z: Tensor, width: float = 0.5) -> Tensor:
    """The distance to the largest logit, cut at a width: flat unless two classes are near one another."""
    return (z - z.amax(1, keepdim=True)).clamp(min=-width)


def clamped_widely(z: Tensor) -> Tensor:
    """As `clamped`, so wide that on a line between images much of the change has its true gradient."""
    return clamped(z, 3.0) / 3.0


def clamped_at_five(z: Tensor) -> Tensor:
    """As `clamped`, where most images of these networks lie at the cut and some have a true gradient."""
    return clamped(z, 5.0)


def ranks(z: Tensor) -> Tensor:
    """Each logit's place in the order of its image."""
    return z.argsort(1).argsort(1).to(z)


def hot(z: Tensor) -> Tensor:
    """Logits a hundredfold: a softmax of them underflows."""
    return 100 * z


def detached(z: Tensor) -> Tensor:
    """Logits without a gradient."""
    return z.detach()


def reversed_gradient(z: Tensor) -> Tensor:
    """Logits with the gradient's sign changed."""
    return 2 * z.detach() - z


def not_a_number(z: Tensor) -> Tensor:
    """Logits whose gradient is NaN: that of sqrt at 0 times 0."""
    return z + torch.sqrt(z - z)


def vote(members: list[nn.Module]) -> Operation:
    """Number of networks that predict each class; ties go to the first network's prediction."""
    return lambda x: (
        torch.stack([one_hot(member(x)) for member in members]).sum(0) + 0.5 * one_hot(members[0](x))
    )
