"""The other libraries, each used as its documentation says, and the limits that everybody is held to.

Nothing of theirs is imported before it is asked for; what is not installed is left out, with the reason. They
get the network in inference mode as users have it, its parameters with `requires_grad`; what that costs them
is theirs (--freeze shows it). The limits run on a copy that is frozen.
"""

from __future__ import annotations

import copy
import importlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peering.engine import Search
from benchmarks.peering.networks import Subject
from harden.models import PreparedNetwork

NAMES = ("torchattacks", "foolbox", "art", "autoattack_apgd")


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """What all get: L-infinity budget, step size, steps, batch; and where AutoAttack lies."""

    steps: int
    batch: int
    eps: float = 8 / 255
    alpha: float = 2 / 255
    autoattack: Path | None = None


def frozen_copy(network: nn.Module) -> nn.Module:
    """The same weights, which want no gradient."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def gradient_of(classify: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """One forward and the gradient at the images, and nothing else."""
    point = x.detach().requires_grad_()
    loss = functional.cross_entropy(classify(point), y, reduction="sum")
    return torch.autograd.grad(loss, point)[0]


def limit(classify: Callable[[Tensor], Tensor], steps: int) -> Search:
    """No attack of so many steps can cost less than steps x (forward + input gradient)."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        for _ in range(steps):
            gradient = gradient_of(classify, x, y)
        return gradient

    return run


def own_limit(copied: PreparedNetwork, judge: nn.Module, steps: int) -> Search:
    """The same with the prepared copy, and one forward of the fp32 network, which judges the last point."""
    climb = limit(copied, steps)

    def run(x: Tensor, y: Tensor) -> Tensor:
        gradient = climb(copied.lay_out(x), y)
        with torch.no_grad():
            judge(x)
        return gradient

    return run


def plain_loop(network: nn.Module, setting: Setting) -> Search:
    """PGD as many write it: `loss.backward()` on a network whose weights want gradients, then clear them."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        x_adv = (x + torch.empty_like(x).uniform_(-setting.eps, setting.eps)).clamp(0, 1)
        for _ in range(setting.steps):
            x_adv = x_adv.detach().requires_grad_()
            functional.cross_entropy(network(x_adv), y).backward()  # type: ignore[no-untyped-call]  # torch left it untyped
            gradient = torch.zeros_like(x) if x_adv.grad is None else x_adv.grad
            x_adv = x_adv.detach() + setting.alpha * gradient.sign()
            x_adv = (x + (x_adv - x).clamp(-setting.eps, setting.eps)).clamp(0, 1)
        network.zero_grad()
        return x_adv.detach()

    return run


def torchattacks(subject: Subject, setting: Setting) -> Search:
    """`torchattacks.PGD`."""
    module = importlib.import_module("torchattacks")
    attack: Search = module.PGD(
        subject.theirs, eps=setting.eps, alpha=setting.alpha, steps=setting.steps, random_start=True
    )
    return attack


def foolbox(subject: Subject, setting: Setting) -> Search:
    """`foolbox.attacks.LinfPGD`."""
    module = importlib.import_module("foolbox")
    device = subject.x.device
    model = module.PyTorchModel(subject.theirs, bounds=(0, 1), device=device)
    attack = module.attacks.LinfPGD(steps=setting.steps, abs_stepsize=setting.alpha, random_start=True)

    def run(x: Tensor, y: Tensor) -> Tensor:
        x_adv: Tensor = attack(model, x, y, epsilons=setting.eps)[1]
        return x_adv

    return run


def art(subject: Subject, setting: Setting) -> Search:
    """`ProjectedGradientDescentPyTorch` of the Adversarial Robustness Toolbox; arrays in, arrays out."""
    evasion: Any = importlib.import_module("art.attacks.evasion.projected_gradient_descent")
    evasion = importlib.import_module(f"{evasion.__name__}.projected_gradient_descent_pytorch")
    estimators: Any = importlib.import_module("art.estimators.classification")
    logging.getLogger("art").setLevel(logging.ERROR)
    classes = subject.theirs(subject.x[:1]).shape[1]
    estimator = estimators.PyTorchClassifier(
        subject.theirs, nn.CrossEntropyLoss(), tuple(subject.x.shape[1:]), classes, clip_values=(0.0, 1.0),
        device_type="cpu" if subject.x.device.type == "cpu" else "gpu",
    )  # fmt: skip
    attack = evasion.ProjectedGradientDescentPyTorch(
        estimator, eps=setting.eps, eps_step=setting.alpha, max_iter=setting.steps, num_random_init=1,
        batch_size=setting.batch, verbose=False,
    )  # fmt: skip

    def run(x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x.device)

    return run


def autoattack_apgd(subject: Subject, setting: Setting, norm: str = "Linf", eps: float = 0.0) -> Search:
    """AutoAttack's `APGDAttack` on the cross-entropy, one restart.

    It leaves out images that are misclassified before the start and none after it, and makes one forward
    and steps + 1 gradients; with the network's own answers as labels it works on all images to the end.
    """
    if setting.autoattack is None:
        raise ModuleNotFoundError("pass --autoattack with the path of a checkout of fra31/auto-attack")
    sys.path.insert(0, str(setting.autoattack))
    try:
        module = importlib.import_module("autoattack.autopgd_base")
    finally:
        sys.path.remove(str(setting.autoattack))
    radius = eps or setting.eps
    attack = module.APGDAttack(subject.theirs, n_iter=setting.steps, norm=norm, eps=radius, loss="ce")
    search: Search = attack.perturb
    return search


def peers(subject: Subject, setting: Setting) -> tuple[dict[str, Search], dict[str, str]]:
    """The libraries that are there, ready to run, and why the others are not."""
    found, absent = {}, {}
    for name, make in zip(NAMES, (torchattacks, foolbox, art, autoattack_apgd), strict=True):
        try:
            found[name] = make(subject, setting)
        except ImportError as error:
            absent[name] = f"{type(error).__name__}: {error}"
    return found, absent
