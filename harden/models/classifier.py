"""Classifier around a user's network, with normalisation as its first layer and a head with features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import final

import torch
from torch import Tensor, nn

from harden.check_pixels import check_pixels
from harden.errors import InputError
from harden.models.find_head import find_head
from harden.models.logits_of_output import binary, select_logits
from harden.models.pass_count import count
from harden.models.unwrap import part_named, unwrap
from harden.models.wrapping_checks import check_network, check_normalisation


@final
class Classifier(nn.Module):
    """A network as a function from pixels in [0, 1] to logits: z(x) = network((x - mean) / std).

    The network is shared, not copied, and not changed; `harden.harden` trains a copy. Wrappers of
    torch.compile and DataParallel are removed, the parameters stay the same. A network with a single logit z,
    (N, 1) or (N,), is one of two classes with logits (0, z).

    Args:
        network: any module from images (N, C, H, W) to logits (N, K).
        mean: per-channel mean of the normalisation that the network was trained with; none by default.
        std: per-channel standard deviation, likewise.
        head: name of the submodule whose input are the features; by default the module that timm's
            `get_classifier` returns, or the last nn.Linear, or in a network without one the last 1x1
            convolution.
        output: key, attribute or position of the logits in what the network returns; by default the tensor
            that it returns, or the part named `logits`.

    Raises:
        InputError: mean and std do not fit together, the network has no such head, or it is no module.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        head: str | None = None,
        output: str | int | None = None,
    ) -> None:
        super().__init__()
        check_network(network)
        if isinstance(plain := unwrap(network), Classifier):
            seen = "a harden.Classifier in a harden.Classifier"
            raise InputError(seen, "a network", "pass the Classifier as it is, or its .network")
        check_normalisation(mean, std)
        self.network = plain
        self.output = output
        self._head = find_head(network, head)
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
        """Logits (N, K) without a check of the pixels: for loops whose batches were checked."""
        self._check_channels(x)
        count(len(x))
        answer = select_logits(self.network(self.normalise(x)), self.output)
        if answer.dim() not in (1, 2) or len(answer) != len(x) or 0 in answer.shape[1:]:
            raise InputError(
                f"the network returned shape {tuple(answer.shape)}",
                f"logits of shape ({len(x)}, classes)",
                "wrap it in a module that returns the logits alone",
            )
        return binary(answer).float()

    def bare_logits(self, x: Tensor) -> Tensor:
        """Logits in the network's own type, neither checked nor counted: what is exported."""
        return binary(select_logits(self.network(self.normalise(x)), self.output))

    def features(self, x: Tensor) -> Tensor:
        """Features (N, D), the input of the head, for images (N, C, H, W).

        A convolutional head's feature maps are averaged over height and width.
        """
        seen: list[Tensor] = []
        widths: set[int] = set()
        head = self.head
        places = isinstance(head, nn.Conv2d)

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            # A clone: a head of several layers may begin with one that works in place.
            seen.append(next(iter((*inputs, *named.values()))).clone())

        def measure(_: nn.Module, __: object, answer: object) -> None:
            if isinstance(answer, Tensor) and answer.dim() > 1:
                widths.add(answer.shape[1 if places else -1])

        handles = [
            head.register_forward_pre_hook(keep, with_kwargs=True),
            head.register_forward_hook(measure),
        ]
        try:
            classes = self.logits(x).shape[1]
        finally:
            for handle in handles:
                handle.remove()
        self._check_head(len(seen), widths, classes)
        features = seen[0].mean((2, 3)) if places and seen[0].dim() == 4 else seen[0].flatten(1)
        return features.float()

    def normalise(self, x: Tensor) -> Tensor:
        """(x - mean) / std in the network's own dtype, in a new tensor that shares no memory with x."""
        if self.harden_mean is not None and self.harden_std is not None:
            return ((x - self.harden_mean) / self.harden_std).to(self._dtype or x.dtype)
        # A network whose first layer works in place would write on the caller's images.
        kind = self._dtype or x.dtype
        return x.clone() if x.dtype == kind else x.to(kind)

    def describe(self) -> str:
        """Describe network, precision, head, output and normalisation in one line."""
        size = sum(weight.numel() for weight in self.network.parameters())
        weights = f"{size:,} {str(self._dtype).removeprefix('torch.')}" if self._dtype else "no"
        output = "as returned" if self.output is None else f"part {self.output!r} of what is returned"
        if self.harden_mean is None or self.harden_std is None:
            normalisation = "no normalisation"
        else:
            mean, std = (
                ", ".join(f"{value:.4g}" for value in values.flatten().tolist())
                for values in (self.harden_mean, self.harden_std)
            )
            normalisation = f"mean ({mean}), std ({std})"
        return (
            f"{type(self.network).__name__}, {weights} weights; "
            f"head {self.head_name!r}, {_shape(self.head)} ({self._head.found}); "
            f"logits {output}; {normalisation}"
        )

    @property
    def head(self) -> nn.Module:
        """The submodule that maps features to logits."""
        return part_named(self.network, self.head_name)

    @property
    def head_name(self) -> str:
        """The head's name in the network."""
        return self._head.name

    @property
    def device(self) -> torch.device:
        """The device of the network's weights."""
        # A network read from a file keeps its weights as buffers.
        weights = chain(self.network.parameters(), self.network.buffers())
        return next((weight.device for weight in weights), torch.device("cpu"))

    @property
    def _dtype(self) -> torch.dtype | None:
        # Integer weights, as of a quantised layer, would cut every pixel down to 0 or 1.
        kinds = (weight.dtype for weight in self.network.parameters() if weight.is_floating_point())
        return next(kinds, None)

    def _check_head(self, runs: int, widths: set[int], classes: int) -> None:
        # Features of the wrong layer could be trained on unnoticed: a head that was not named has to run once
        # and to return as many values as there are logits; 1 where they are read as (0, z).
        fits = widths <= ({classes, 1} if classes == 2 else {classes})
        if runs == 1 and (fits or self._head.named):
            return
        what = "did not run" if not runs else f"ran {runs} times"
        what = what if runs != 1 else f"gives {max(widths)} values and the network {classes} logits"
        raise InputError(
            f"the head {self.head_name!r} {what}",
            "a head that every forward passes through once",
            "name the right submodule: Classifier(network, head=...)",
        )

    def _check_channels(self, x: Tensor) -> None:
        # Broadcasting would turn one channel into three without an error.
        if self.harden_mean is None or (channels := self.harden_mean.shape[1]) in (1, x.shape[1]):
            return
        raise InputError(
            f"images with {x.shape[1]} channels and a mean of {channels}",
            "as many channels as mean and std have",
            "write x.expand(-1, 3, -1, -1) for grey images, or give their own mean and std",
        )


def _shape(head: nn.Module) -> str:
    """A layer's kind and its numbers of inputs and outputs, where it has them."""
    kind = type(head).__name__.removeprefix("Parametrized")
    for inputs, outputs in (("in_features", "out_features"), ("in_channels", "out_channels")):
        if hasattr(head, inputs) and hasattr(head, outputs):
            return f"{kind} {getattr(head, inputs)} -> {getattr(head, outputs)}"
    return kind
