"""A user's own recipe, attack and loss: plain functions, no base class, no registry.

Measured on scikit-learn's digits, L-infinity, eps 1/10, n = 599 test images, one run with seed 0, as the
exported file answers under onnxruntime (exact 95 % intervals; each line: images unbroken after it and above):

    clean accuracy                          98.5 % [97.1, 99.4]
    100 random corners                      93.3 % [91.0, 95.2]
    PGD-50 on the difference of logits      86.5 % [83.4, 89.2]
    PGD-50 on cross-entropy and on margin   85.5 % [82.3, 88.3]   robust accuracy, at most

47 seconds of CPU time in all on one core of an Intel Xeon virtual machine; Python 3.11, torch 2.14.1,
onnxruntime 1.31.1. The command:

    OMP_NUM_THREADS=1 python examples/own_recipe.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import harden
from harden.draws import Draws
from harden.evaluation import Attempt, pgd_suite
from harden.losses import Classify, LossFunction
from harden.models.small_networks import small_cnn
from harden.threats import Threat
from harden.training import AdamW
from harden.views import DIGITS

RECIPE = harden.Recipe(
    pretrain=harden.SimCLR(views=DIGITS),
    pretrain_share=0.1,
    finetune=harden.TRADES(beta=4.0, attack=harden.PGD(steps=5, step_size=0.4, keep_best=False)),
    optimiser=AdamW(3e-3),
    pretrain_optimiser=AdamW(3e-3),
)


def difference_of_logits(classify: Classify, y: Tensor) -> LossFunction:
    """(z_second - z_y) / (z_first - z_third): a loss that does not depend on the logits' scale."""

    def loss(x: Tensor) -> Tensor:
        logits = classify(x)
        ordered = logits.sort(1, descending=True).values
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        wrong = torch.where(own == ordered[:, 0], ordered[:, 1], ordered[:, 0])
        return (wrong - own) / (ordered[:, 0] - ordered[:, 2]).clamp_min(1e-12)

    return loss


def random_corners(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """Of 100 random corners of the ball the worst, per example: no gradient, so nothing can mask it."""
    found, best = x.clone(), loss(x)
    for number in range(100):
        signs = draws.fold(number).uniform(tuple(x.shape[1:])) - 0.5
        corner = x + 2 * float(threat.eps) * signs.sign()
        threat.project_(corner, x)  # exactly into ball and box; what ends in _ changes its argument
        value = loss(corner)
        better = value > best
        found[better], best[better] = corner[better], value[better]
    return found


def main(budget: str = "150E", out: str | Path = "out/own_recipe") -> harden.Artefact:
    """Run the example."""
    torch.manual_seed(0)
    data = harden.data.load("digits")
    model = harden.Classifier(small_cnn())
    threat = harden.Linf("1/10")
    hardened = harden.harden(model, data.train, threat=threat, recipe=RECIPE, budget=budget, seed=0)
    attempts = (
        Attempt("random corners", random_corners, difference_of_logits),
        Attempt(
            "pgd-50 on the difference of logits", harden.PGD(steps=50, stop_early=True), difference_of_logits
        ),
        *pgd_suite(),
    )
    artefact = hardened.export(out, data.test, attempts=attempts)
    print(artefact.certificate)
    return artefact


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--budget", default="150E", help="10min, 150E (passes per training image), 3epochs")
    parser.add_argument("--out", default="out/own_recipe", help="the artefact's folder")
    main(**vars(parser.parse_args()))
