"""Defended networks from parts, each with its smooth networks for an adaptive attack."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from benchmarks.masking_defences import networks, operations
from benchmarks.masking_defences.networks import TRAININGS, Data
from benchmarks.masking_defences.operations import Function, Operation, identity, straight_through
from benchmarks.masking_defences.settings import Setting
from benchmarks.masking_defences.shortcuts import shortcut

MEMBERS = 3


@final
@dataclass(frozen=True, slots=True)
class Defence:
    """The parts around a network: before it, in place of its activations, and behind it.

    With `retrained` the network inside was trained behind `before`; with `hidden` it is no submodule,
    with `wrapped` a module without submodules that calls it.
    """

    before: Operation = identity
    activation: Operation | None = None
    after: Operation = identity
    votes: bool = False
    retrained: bool = False
    hidden: bool = False
    wrapped: bool = False


DEFENCES: dict[str, Defence] = {
    "none": Defence(),
    "one-hot": Defence(after=operations.one_hot),
    "one-hot, hidden": Defence(after=operations.one_hot, hidden=True),
    "clamped widely, hidden": Defence(after=operations.clamped_widely, hidden=True),
    "one-hot, wrapped": Defence(after=operations.one_hot, wrapped=True),
    "two levels": Defence(after=operations.two_levels),
    "quantised": Defence(after=operations.quantised),
    "rounded probabilities": Defence(after=operations.rounded_probabilities),
    "two likeliest": Defence(after=operations.two_likeliest),
    "saturated": Defence(after=operations.saturated),
    "clamped": Defence(after=operations.clamped),
    "clamped widely": Defence(after=operations.clamped_widely),
    "clamped at 5": Defence(after=operations.clamped_at_five),
    "clamped at 5, hidden": Defence(after=operations.clamped_at_five, hidden=True),
    "ranks": Defence(after=operations.ranks),
    "vote": Defence(votes=True),
    "hot": Defence(after=operations.hot),
    "detached": Defence(after=operations.detached),
    "reversed gradient": Defence(after=operations.reversed_gradient),
    "NaN gradient": Defence(after=operations.not_a_number),
    "staircase": Defence(activation=operations.staircase),
    "winners": Defence(activation=operations.winners),
    "bit depth": Defence(before=operations.depth),
    "bit depth, straight through": Defence(before=straight_through(operations.depth)),
    "cosine transform": Defence(before=operations.transform_coded),
    "cosine transform, straight through": Defence(before=straight_through(operations.transform_coded)),
    "hashed noise": Defence(before=operations.hashed_noise),
    "median": Defence(before=operations.median, retrained=True),
    "median, one-hot": Defence(before=operations.median, after=operations.one_hot, retrained=True),
    "hashed noise, one-hot": Defence(before=operations.hashed_noise, after=operations.one_hot),
    "bit depth, one-hot": Defence(before=operations.depth, after=operations.one_hot),
}


@final
class Defended(nn.Module):
    """after(inside(before(x))) + shortcut(x, z), z the logits inside."""

    def __init__(
        self, before: Operation, inside: Operation, after: Operation, beside: nn.Module | None
    ) -> None:
        super().__init__()
        self.before, self.inside, self.after, self.beside = before, inside, after, beside

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        z = self.inside(self.before(x))
        answer: Tensor = self.after(z)
        return answer if self.beside is None else answer + self.beside(x, z)


@final
class Mean(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        return torch.stack([member(x) for member in self.members]).mean(0)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Construction:
    """A defended network and what its builder knows.

    Attributes:
        network: what is evaluated.
        base: the network without its defence.
        smooth: networks with the same or nearly the same answers and a useful gradient.
    """

    network: nn.Module
    base: nn.Module
    smooth: tuple[nn.Module, ...]


@final
class Workshop:
    """Builds defended networks over one data set and seed; what was trained is kept."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.seed = data, seed
        self._base = functools.cache(self._trained)
        self._shortcut = functools.cache(lambda name: shortcut(name, data, seed))

    def built(self, setting: Setting) -> Construction:
        """The defended network of a setting, and its smooth forms."""
        defence, beside = DEFENCES[setting.defence], self._shortcut(setting.shortcut)
        members = [
            self._base(setting.base, setting.trained_for, n) for n in range(MEMBERS if defence.votes else 1)
        ]
        base = members[0]
        if defence.votes:
            voting = Function(operations.vote(members))
            voting.members = nn.ModuleList(members)
            network: nn.Module = Defended(identity, voting, defence.after, beside)
            return Construction(network, base, (Mean(members), *members))
        if defence.activation is not None:
            return self._stepwise(setting, defence.activation, base, beside)
        smooth: tuple[nn.Module, ...] = (base,)
        inside = base
        if defence.retrained:
            inside = self._base(setting.base, setting.trained_for, 0, torch.relu, defence.before)
        if defence.before is not identity:
            parts = Function(defence.before), Function(straight_through(defence.before))
            smooth = (*(nn.Sequential(part, inside) for part in parts), inside)
        if not defence.hidden and not defence.wrapped:
            return Construction(Defended(defence.before, inside, defence.after, beside), base, smooth)
        # A bound method is no module, and is registered nowhere.
        called = Function(inside.__call__) if defence.wrapped else inside.__call__
        network = Defended(defence.before, called, defence.after, beside)
        return Construction(nn.Sequential(network, _identical(self.data.classes)), base, smooth)

    def _stepwise(
        self, setting: Setting, function: Operation, base: nn.Module, beside: nn.Module | None
    ) -> Construction:
        # Trained with the activation, its gradient passed on as a ReLU's; evaluated without that gradient.
        def passing(h: Tensor) -> Tensor:
            smooth = torch.relu(h)
            return smooth + (function(h) - smooth).detach()

        inside = self._base(setting.base, setting.trained_for, 0, passing)
        stepwise = _replaced(inside, passing, function)
        smooth = (inside, stepwise, _replaced(inside, passing, torch.relu))
        return Construction(Defended(identity, stepwise, identity, beside), base, smooth)

    def _trained(
        self,
        training: str,
        eps: float,
        member: int,
        activation: Operation = torch.relu,
        before: Operation = identity,
    ) -> nn.Module:
        def made() -> nn.Module:
            network = networks.convolutional(self.data, lambda: Function(activation))
            return nn.Sequential(Function(before), network)

        seed = self.seed + 100 * member
        network = networks.initialised(made, seed)
        inside: nn.Module = networks.fit(network, self.data, TRAININGS[training](eps), seed).get_submodule(
            "1"
        )
        return inside


def _identical(classes: int) -> nn.Linear:
    """A linear layer that changes nothing: a classifier has to have one."""
    layer = nn.Linear(classes, classes, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.eye(classes))
    return layer


def _replaced(network: nn.Module, old: Operation, new: Operation) -> nn.Module:
    found = copy.deepcopy(network)
    for part in found.modules():
        if isinstance(part, Function) and part.function is old:
            part.function = new
    return found
