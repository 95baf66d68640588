"""Sees through what torch.compile and DataParallel put around a module."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel; the same parameters."""
    while (inner := _inner(module)) is not None:
        module = inner
    return module


def named_parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """`named_modules` as if there were no wrappers, neither around nor inside.

    So a part has the same name before and after a wrapper is gone, and a name found here survives `copied`.
    """
    module = unwrap(module)
    yield prefix, module
    for name, child in module.named_children():
        yield from named_parts(child, f"{prefix}.{name}" if prefix else name)


def part_named(module: nn.Module, name: str) -> nn.Module:
    """The part that `named_parts` calls `name`.

    Raises:
        AttributeError: there is none.
    """
    part = unwrap(module)
    for atom in filter(None, name.split(".")):
        part = unwrap(part.get_submodule(atom))
    return part


def _inner(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    else:
        # Not isinstance: importing the class of torch.compile's wrapper loads the whole compiler.
        inner = dict(module._modules.items()).get("_orig_mod")  # of a scripted module it is no dict
    return inner if isinstance(inner, nn.Module) else None
