"""The same seed gives the same adversarial examples in every version: results on record, bit for bit.

`python -m tests.attacks.test_golden` writes the record anew; a change needs its reason in CHANGELOG.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import APGD, FAB, FGSM, MIFGSM, PGD, Attack, RandomNoise, RayS, Square, Targeted
from harden.attacks.attack import NearestAttack
from harden.draws import Draws
from harden.kernels import backend
from harden.losses import DLR, CrossEntropy, LossFunction, Margin, with_fast_copy
from harden.threats import L1, L2, ChannelLinf, Linf, Threat

RECORD = Path(__file__).parent / "golden.json"
SHAPE = (12, 2, 6, 6)

THREATS: dict[str, Threat] = {
    "linf": Linf("1/20"),
    "l2": L2("2/5"),
    "l1": L1(2),
    "channels": ChannelLinf(("1/20", "1/10")),
}
LOSSES: dict[str, Callable[..., LossFunction]] = {"ce": CrossEntropy, "margin": Margin, "dlr": DLR}
ATTACKS: dict[str, Attack] = {
    "pgd": PGD(steps=7, restarts=3, stop_early=True),
    "pgd-on": PGD(steps=7, restarts=2, stop_early=False),
    "pgd-last": PGD(steps=5, restarts=2, keep_best=False),
    "fgsm": FGSM(),
    "mifgsm": MIFGSM(steps=6, stop_early=True),
    "apgd": APGD(steps=12, restarts=2, stop_early=True),
    "apgd-on": APGD(steps=12, stop_early=False),
    "targeted": Targeted(APGD(steps=6, stop_early=True), classes=3),
    "fab": FAB(steps=8, restarts=2),
    "square": Square(queries=40, restarts=2, stop_early=True),
    "square-on": Square(queries=40, stop_early=False),
    "noise": RandomNoise(samples=5),
    "rays": RayS(queries=60),
}
KINDS = ("plain", "steered", "value")
"""The loss on the network, on a fast copy with coarser weights, and as a function of images alone."""


def _applies(attack: str, threat: str, loss: str, kind: str) -> bool:
    """Whether a combination is on record."""
    if kind == "value":
        return loss == "ce" and attack in {"pgd", "pgd-last", "fgsm", "mifgsm", "apgd", "noise", "square"}
    if attack == "fab":
        return loss == "margin" and threat != "channels"
    if attack == "rays":
        return loss == "margin" and threat == "linf" and kind == "plain"
    if attack == "targeted":
        return threat != "channels"
    return loss != "dlr" or attack in {"apgd", "pgd"}


CASES = [
    (attack, threat, loss, kind)
    for attack in ATTACKS
    for threat in THREATS
    for loss in LOSSES
    for kind in KINDS
    if _applies(attack, threat, loss, kind) and (threat != "channels" or attack in {"pgd", "fgsm", "square"})
]


class _Network(nn.Module):
    """A small network in float64, rounded to float32 at its logits: the same on nearly every machine."""

    def __init__(self, *, coarse: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(20)
        self.first = torch.randn(20, 72, generator=draw, dtype=torch.float64) / 3
        self.second = torch.randn(5, 20, generator=draw, dtype=torch.float64)
        self.coarse = coarse

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 5); a coarse copy rounds its weights to three digits."""
        first, second = self.first, self.second
        if self.coarse:
            first, second = (1000 * first).round() / 1000, (1000 * second).round() / 1000
        hidden = ((x.double().flatten(1)[:, None] - 0.5) * first).sum(2).tanh()
        return (hidden[:, None] * second).sum(2).float()


def _images() -> Tensor:
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(8))
    return (1.2 * noise - 0.1).clamp(0, 1)


def _loss(name: str, kind: str, x: Tensor) -> LossFunction:
    exact = _Network(coarse=False)
    y = exact(x).argmax(1)
    y[5] = (y[5] + 1) % 5  # an image that the network gets wrong
    if kind == "steered":
        return with_fast_copy(LOSSES[name], _Network(coarse=True), exact, y)
    whole = LOSSES[name](exact, y)
    return (lambda x: whole(x)) if kind == "value" else whole


def _found(attack: str, threat: str, loss: str, kind: str) -> Tensor:
    x = _images()
    draws = Draws(3, torch.arange(len(x)))
    return ATTACKS[attack](_loss(loss, kind, x), x, THREATS[threat], draws)


def _nearest(threat: str, kind: str) -> Tensor:
    x, attack = _images(), FAB(steps=8)
    assert isinstance(attack, NearestAttack)
    return attack.nearest(_loss("margin", kind, x), x, THREATS[threat], Draws(3, torch.arange(len(x)))).x_adv


def _digest(*parts: Tensor) -> str:
    """The first half of the SHA-256 of the values' bytes."""
    whole = b"".join(part.detach().contiguous().numpy().tobytes() for part in parts)
    return hashlib.sha256(whole).hexdigest()[:32]


def _probe() -> str:
    """What the network computes here: another machine's rounding may give another search."""
    x = _images().requires_grad_()
    logits = _Network(coarse=False)(x)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    return _digest(logits, gradient)


def _noted(found: Tensor) -> dict[str, str]:
    """The examples' digest, and which of them the network gets wrong."""
    clean, attacked = (_Network(coarse=False)(x).argmax(1) for x in (_images(), found))
    return {
        "sha256": _digest(found),
        "changed": "".join(str(int(each)) for each in clean != attacked),
    }


@pytest.fixture(scope="module")
def record() -> dict[str, dict[str, str]]:
    stored = json.loads(RECORD.read_text(encoding="utf-8"))
    assert isinstance(stored, dict)
    if stored["probe"] != _probe():
        pytest.skip("this machine's arithmetic gives other logits than the one of the record")
    entries = stored[backend().name]
    assert isinstance(entries, dict)
    return entries


@pytest.mark.parametrize(("attack", "threat", "loss", "kind"), CASES)
def test_the_same_seed_gives_the_same_adversarial_examples(
    attack: str, threat: str, loss: str, kind: str, record: dict[str, dict[str, str]]
) -> None:
    found = _noted(_found(attack, threat, loss, kind))
    assert found == record[f"{attack} {threat} {loss} {kind}"]


@pytest.mark.parametrize("kind", ["plain", "steered"])
@pytest.mark.parametrize("threat", ["linf", "l2", "l1"])
def test_the_same_seed_gives_the_same_nearest_errors(
    threat: str, kind: str, record: dict[str, dict[str, str]]
) -> None:
    assert _noted(_nearest(threat, kind)) == record[f"nearest {threat} {kind}"]


def test_the_record_holds_successes_and_failures(record: dict[str, dict[str, str]]) -> None:
    """A record in which every image or none is broken would say little."""
    mixed = [len(set(entry["changed"])) == 2 for entry in record.values()]
    assert sum(mixed) > len(mixed) // 2
    assert len(record) == len(CASES) + 6


def _write() -> None:
    entries = {" ".join(case): _noted(_found(*case)) for case in CASES}
    for threat in ("linf", "l2", "l1"):
        for kind in ("plain", "steered"):
            entries[f"nearest {threat} {kind}"] = _noted(_nearest(threat, kind))
    stored = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    written = {**stored, "probe": _probe(), backend().name: entries}
    RECORD.write_text(json.dumps(written, indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    _write()
