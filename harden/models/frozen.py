"""Contexts that hold a network still and give back every flag as it was, also when the body raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Put networks in inference mode, without parameter gradients, for the length of the context.

    Guarantee: afterwards `training` of every submodule and `requires_grad` of every parameter are as before;
    BatchNorm statistics are not updated inside; `.grad` is not touched.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    flags = [(weight, weight.requires_grad) for module in modules for weight in module.parameters()]
    try:
        for module in modules:
            # Not module.eval(): a user's override of train() may do more than set flags.
            for part in module.modules():
                part.training = False
        for weight, _ in flags:
            weight.requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for weight, flag in flags:
            weight.requires_grad_(flag)
