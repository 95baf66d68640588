"""Finds a network's head: the layer whose input are the features and whose output are the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import nn

from harden.errors import InputError
from harden.models.unwrap import named_parts, unwrap


@final
@dataclass(frozen=True, slots=True)
class HeadLocation:
    """Where a network's head is.

    Attributes:
        name: of the submodule, as in `named_modules`, without wrappers' names.
        found: how it was found, in words.
        named: whether the user said so.
    """

    name: str
    found: str
    named: bool = False


def find_head(network: nn.Module, name: str | None) -> HeadLocation:
    """The head that was named, or else what timm says, the last nn.Linear, or the last 1x1 convolution.

    A network without any linear layer that classifies with a convolution, as SqueezeNet does, has the last
    one for a head.

    Raises:
        InputError: there is no such submodule, or none that could be the head.
    """
    parts = {path: part for path, part in named_parts(network) if path}
    if name is not None:
        return HeadLocation(_path_of(network, parts, name), "as named", named=True)
    told = _told_by_timm(network)
    for path, part in parts.items():
        if part is told:
            return HeadLocation(path, "timm's classifier")
    linear = [path for path, part in parts.items() if isinstance(part, nn.Linear)]
    if linear:
        return HeadLocation(linear[-1], "the last linear layer")
    convolutions = [(path, part) for path, part in parts.items() if isinstance(part, nn.Conv2d)]
    if convolutions and set(convolutions[-1][1].kernel_size) == {1}:
        return HeadLocation(convolutions[-1][0], "the last convolution")
    raise InputError("a network without a linear layer", "a head", "name it: Classifier(network, head=...)")


def _path_of(network: nn.Module, parts: dict[str, nn.Module], name: str) -> str:
    if name in parts:
        return name
    # As the user sees it, with the wrappers' names in the path.
    target = dict(network.named_modules()).get(name) if name else None
    for path, part in parts.items():
        if target is not None and part is unwrap(target):
            return path
    linear = [path for path, part in parts.items() if isinstance(part, nn.Linear)]
    instead = f"write one such as {linear[-1]!r}" if linear else f"write one such as {list(parts)[-1:]}"
    raise InputError(f"head {name!r}", "the name of a submodule", instead)


def _told_by_timm(network: nn.Module) -> nn.Module | None:
    ask = getattr(network, "get_classifier", None)
    if not callable(ask):
        return None
    try:
        told = ask()
    except TypeError:  # a user's own method of that name, which wants arguments
        return None
    if isinstance(told, tuple) and told:  # a distilled network's two heads read different features
        told = told[0]
    return told if isinstance(told, nn.Module) and not isinstance(told, nn.Identity) else None
