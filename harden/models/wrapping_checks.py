"""Checks of a network and its normalisation before they are wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from harden.errors import InputError


def check_network(network: object) -> None:
    """Check that a network can be trained and exported.

    Raises:
        InputError: it is no module, a compiled script, or has weights that have no values yet.
    """
    if not isinstance(network, nn.Module):
        kind = "class" if isinstance(network, type) else type(network).__name__
        seen = f"{network.__name__}, a class," if isinstance(network, type) else f"a {kind}"
        raise InputError(f"{seen} for a network", "an nn.Module", "pass the module itself, built")
    if isinstance(network, torch.jit.ScriptModule):
        raise InputError(
            "a torch.jit.ScriptModule",
            "a module in Python, which torch.onnx can trace",
            "pass the module that it was made from",
        )
    for name, weight in network.named_parameters():
        if is_lazy(weight):
            seen = f"the lazy parameter {name!r} without a shape"
            raise InputError(seen, "a network that has run once", "run one batch through it first")
        if weight.is_meta:
            seen = f"the parameter {name!r} on the meta device"
            raise InputError(seen, "weights with values", "load the weights first")


@contextmanager
def differentiable() -> Iterator[None]:
    """Explain torch's error for gradients of a network that recomputes its activations.

    Raises:
        InputError: the forward calls torch.utils.checkpoint in its reentrant form.
    """
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise InputError(
            "a network with torch.utils.checkpoint in its reentrant form",
            "gradients of the image alone, which that form does not give",
            "write checkpoint(..., use_reentrant=False)",
        ) from error


def check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Check that mean and std fit together.

    Raises:
        InputError: one is missing, there are not as many of each, a mean is above 1, or a deviation is not
            positive.
    """
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
        if max(mean, default=0.0) > 1:
            as_share = ", ".join(f"{value / 255:.3g}" for value in mean)
            raise InputError(
                f"mean {tuple(mean)}",
                "means of pixels in [0, 1]",
                f"divide mean and std by 255: write mean=({as_share},)",
            )
        if not all(deviation > 0 for deviation in std):  # not min(): a NaN would pass
            raise InputError(
                f"std {tuple(std)}", "positive deviations", "write std=(0.5, 0.5, 0.5), for instance"
            )
