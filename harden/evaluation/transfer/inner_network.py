"""A part of the network without the layers that mask its gradient, to transfer from (1802.00420)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.errors import HardenError
from harden.evaluation.judge_outputs import predicted_classes
from harden.evaluation.transfer.surrogate import SurrogateContext
from harden.models import Classifier
from harden.models.pass_count import uncounted

AGREES = 0.8
"""Least share of images on which a part predicts the judge's class, to be transferred from."""

ALIKE = 0.99
"""Gradients of a larger mean cosine count as equal; compared on the first FEW images."""

FEW = 8


@final
@dataclass(frozen=True, slots=True)
class PartInside:
    """A module of the network that mostly predicts the judge's classes, without the layers around it.

    Of the modules that return (N, K) it is the one that agrees with the judge most often and has another
    gradient than the network; one that takes images is applied to them directly; of any other the output is
    taken in the network's forward. A network that masks no gradient has no such part.

    Source: Athalye et al., 1802.00420.
    """

    def network(self, scene: SurrogateContext) -> Classifier | None:
        """The part as a classifier, or None."""
        x, model = scene.batch.x, scene.model
        with torch.no_grad(), uncounted():
            seen = _outputs(model, x)
            answer = scene.judge(x)
        agree = {
            (int((predicted_classes(output.float()) == predicted_classes(answer)).sum()), takes_images, name)
            for name, (takes_images, output) in seen.items()
            if output.shape == answer.shape
        }
        own = _gradient(model, x[:FEW])
        for count, takes_images, name in sorted(agree, reverse=True):
            if count < AGREES * len(x):
                break
            part = _part(model, name, takes_images)
            if part is not None and _differs(_gradient(part, x[:FEW]), own):
                return part
        return None


@final
class _InnerOutput(nn.Module):
    """The output of a module inside a network in the network's forward."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self._name = network, name

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def keep(_: nn.Module, __: object, out: Tensor) -> None:
            seen.append(out)

        # Registered at each call: copies of this module have modules of their own.
        hook = self.network.get_submodule(self._name).register_forward_hook(keep)
        try:
            self.network(x)
        finally:
            hook.remove()
        return seen[-1]


def _part(model: Classifier, name: str, takes_images: bool) -> Classifier | None:
    """The part as a classifier of the same normalisation; None where it can't be wrapped as one."""
    try:
        made = Classifier(
            model.network.get_submodule(name) if takes_images else _InnerOutput(model.network, name)
        )
    except HardenError:
        return None
    made.harden_mean, made.harden_std = model.harden_mean, model.harden_std
    return made


def _gradient(model: Classifier, x: Tensor) -> Tensor:
    """The gradient of the largest logit, rows of length 1, float64 (N, d); zero where there is none."""
    with torch.inference_mode(mode=False), torch.enable_grad(), uncounted():
        point = x.clone().requires_grad_()
        try:
            value = model.logits(point).amax(1).sum()
            (gradient,) = torch.autograd.grad(value, point, materialize_grads=True)
        except (
            RuntimeError,
            TypeError,
            ValueError,
            HardenError,
        ):  # a part that depends on the modules around it
            return torch.zeros_like(point).flatten(1).double()
    return functional.normalize(gradient.nan_to_num().flatten(1).double())


def _differs(part: Tensor, own: Tensor) -> bool:
    """Return whether a part has a gradient that differs from the network's: both (N, d)."""
    return bool((part != 0).any()) and float((part * own).sum(1).mean()) < ALIKE


def _outputs(model: Classifier, x: Tensor) -> dict[str, tuple[bool, Tensor]]:
    """Outputs of inner modules of shape (N, K), each with whether the module takes the images."""
    seen: dict[str, tuple[bool, Tensor]] = {}
    shape, hooks = x.shape, []

    def watch(name: str, part: nn.Module) -> None:
        def keep(_: nn.Module, given: tuple[object, ...], out: object) -> None:
            if isinstance(out, Tensor) and out.dim() == 2 and len(out) == len(x) and out.is_floating_point():
                first = given[0] if given else None
                seen[name] = (isinstance(first, Tensor) and first.shape == shape, out.clone())

        hooks.append(part.register_forward_hook(keep))

    for name, part in model.network.named_modules():
        if name:
            watch(name, part)
    try:
        model.logits(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
