"""Access to modules inside the wrappers of torch.compile and DataParallel."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module inside torch.compile, DataParallel and DistributedDataParallel, not copied."""
    while (inner := _inner(module)) is not None:
        module = inner
    return module


def named_parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Iterate as `named_modules` without wrappers, neither around nor inside.

    So the name of a part does not depend on wrappers, and is the same in the result of `copied`.
    """
    module = unwrap(module)
    yield prefix, module
    for name, child in module.named_children():
        yield from named_parts(child, f"{prefix}.{name}" if prefix else name)


def part_named(module: nn.Module, name: str) -> nn.Module:
    """Return the part that `named_parts` calls `name`.

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
