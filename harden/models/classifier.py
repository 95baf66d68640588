"""Wraps a user's network: normalisation becomes its first layer, its last linear layer becomes its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models.passes import count
from harden.pixels import check_pixels


@final
class Classifier(nn.Module):
    """A network as a function from pixels in [0, 1] to logits: z(x) = network((x - mean) / std).

    The network is shared, not copied, and is left as it is; `harden.harden` trains a copy.

    Args:
        network: any module from images (N, C, H, W) to logits (N, K).
        mean: per-channel mean of the normalisation that the network was trained with; none by default.
        std: per-channel standard deviation, likewise.
        head: name of the submodule whose input are the features; by default the last nn.Linear.

    Raises:
        InputError: mean and std do not fit together, or the network has no such head.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        head: str | None = None,
    ) -> None:
        super().__init__()
        _check_normalisation(mean, std)
        self.network = network
        self.head_name = _find_head(network, head)
        self.harden_mean: Tensor | None
        self.harden_std: Tensor | None
        # Prefixed names: a user's buffer called `mean` or `image` must not meet ours in the exported graph.
        for name, values in (("harden_mean", mean), ("harden_std", std)):
            buffer = None if mean is None else torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) with pixels in [0, 1].

        Raises:
            InputError: x is no batch of float images, or its pixels leave [0, 1] by more than rounding.
        """
        check_pixels(x)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, K) without looking at the pixels: for loops whose batches were checked."""
        self._check_channels(x)
        count(len(x))
        logits = self.network(self.normalise(x))
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
            seen = (
                f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            )
            raise InputError(
                f"the network returned {seen}",
                f"logits of shape ({len(x)}, classes)",
                "wrap it in a module that returns the logits alone",
            )
        return logits.float()

    def features(self, x: Tensor) -> Tensor:
        """What the head receives for images (N, C, H, W): features (N, D)."""
        seen: list[Tensor] = []

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0])

        handle = self.head.register_forward_pre_hook(keep)
        try:
            self.logits(x)
        finally:
            handle.remove()
        if not seen:
            raise InputError(
                f"the head {self.head_name!r} did not run",
                "a head that every forward passes through",
                "name the right submodule: Classifier(network, head=...)",
            )
        return seen[0].flatten(1).float()

    def normalise(self, x: Tensor) -> Tensor:
        """(x - mean) / std in the network's own dtype."""
        if self.harden_mean is not None and self.harden_std is not None:
            x = (x - self.harden_mean) / self.harden_std
        # Integer weights, as of a quantised layer, would cut every pixel down to 0 or 1.
        kinds = (weight.dtype for weight in self.network.parameters() if weight.is_floating_point())
        return x.to(next(kinds, x.dtype))

    @property
    def head(self) -> nn.Module:
        """The submodule that maps features to logits."""
        return self.network.get_submodule(self.head_name)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    def _check_channels(self, x: Tensor) -> None:
        # Broadcasting would turn one channel into three without a word.
        if self.harden_mean is None or (channels := self.harden_mean.shape[1]) in (1, x.shape[1]):
            return
        raise InputError(
            f"images with {x.shape[1]} channels and a mean of {channels}",
            "as many channels as mean and std have",
            "write x.expand(-1, 3, -1, -1) for grey images, or give their own mean and std",
        )


def _find_head(network: nn.Module, name: str | None) -> str:
    linear: list[str] = [path for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if name is None:
        if not linear:
            raise InputError(
                "a network without a linear layer", "a head", "name it: Classifier(network, head=...)"
            )
        return linear[-1]
    if name not in dict(network.named_modules()):
        raise InputError(f"head {name!r}", "the name of a submodule", f"write one such as {linear[-1:]}")
    return name


def _check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    if (mean is None) != (std is None):
        given, missing = ("mean", "std") if std is None else ("std", "mean")
        raise InputError(f"{given} without {missing}", "both or neither", f"add {missing}=(...)")
    if any(isinstance(value, int | float) for value in (mean, std)):
        raise InputError("mean or std as a number", "one per channel", "write mean=(0.5,), std=(0.25,)")
    if mean is not None and std is not None:
        if len(mean) != len(std):
            seen = f"{len(mean)} means and {len(std)} deviations"
            raise InputError(
                seen, "one of each per channel", "write as many of each as the images have channels"
            )
        if not all(deviation > 0 for deviation in std):  # not min(): a NaN would pass
            raise InputError(
                f"std {tuple(std)}", "positive deviations", "write std=(0.5, 0.5, 0.5), for instance"
            )
