"""Contexts that freeze networks and restore their state, also when the body raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from harden.models.preserving.preserved_state import NetworkState


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Put networks in inference mode, without parameter gradients, inside the context.

    Guarantee: afterwards `training` of every submodule and `requires_grad` of every parameter are as before;
    BatchNorm statistics are not updated inside; `.grad` is not touched.
    """
    # Weights made in inference mode can't require gradients outside it again, so their flags are not changed.
    modes = [(part, part.training) for module in modules for part in module.modules()]
    flags = [(weight, weight.requires_grad) for module in modules for weight in _weights(module)]
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


@contextmanager
def given_back(*modules: nn.Module) -> Iterator[None]:
    """Restore all state of networks and their hooks after the context.

    Guarantee: afterwards buffers, parameters and plain attributes of every submodule have their values from
    before, also those in lists, dicts, objects, closures and the global names that forwards and hooks
    assign; see `NetworkState`.
    """
    condition = NetworkState(*modules)
    try:
        yield
    finally:
        condition.restore_()


@contextmanager
def untouched(*modules: nn.Module) -> Iterator[None]:
    """Combine `given_back` and `frozen`: no run of a network inside changes it."""
    with given_back(*modules), frozen(*modules):
        yield


def _weights(module: nn.Module) -> Iterator[nn.Parameter]:
    return (weight for weight in module.parameters() if not weight.is_inference())
