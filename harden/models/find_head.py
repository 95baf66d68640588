"""Search for a network's head, the layer from features to logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import nn

from harden.errors import InputError
from harden.models.unwrap import named_parts, unwrap


@final
@dataclass(frozen=True, slots=True)
class HeadLocation:
    """The name of a network's head and its origin.

    Attributes:
        name: name of the submodule, as in `named_modules`, without wrappers' names.
        found: the way in which it was found, in words.
        named: whether the user named it.
    """

    name: str
    found: str
    named: bool = False


def find_head(network: nn.Module, name: str | None) -> HeadLocation:
    """Return the named head, or else timm's classifier, the last nn.Linear or the last 1x1 convolution.

    The last convolution is the head of a network without linear layers, such as SqueezeNet.

    Raises:
        InputError: there is no such submodule, or no candidate for the head.
    """
    parts = {path: part for path, part in named_parts(network) if path}
    if name is not None:
        return HeadLocation(_path_of(network, parts, name), "as named", named=True)
    classifier = _timm_classifier(network)
    for path, part in parts.items():
        if part is classifier:
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
    # The user's name may contain the names of wrappers.
    target = dict(network.named_modules()).get(name) if name else None
    for path, part in parts.items():
        if target is not None and part is unwrap(target):
            return path
    linear = [path for path, part in parts.items() if isinstance(part, nn.Linear)]
    instead = f"write one such as {linear[-1]!r}" if linear else f"write one such as {list(parts)[-1:]}"
    raise InputError(f"head {name!r}", "the name of a submodule", instead)


def _timm_classifier(network: nn.Module) -> nn.Module | None:
    method = getattr(network, "get_classifier", None)
    if not callable(method):
        return None
    try:
        found = method()
    except TypeError:  # a user's own method of that name, with arguments
        return None
    if isinstance(found, tuple) and found:  # a distilled network's two heads read different features
        found = found[0]
    return found if isinstance(found, nn.Module) and not isinstance(found, nn.Identity) else None
