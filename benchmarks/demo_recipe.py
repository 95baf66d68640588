"""Chooses the demo's recipe on images held out from training, never on the demo's test images.

    python benchmarks/demo_recipe.py [--out benchmarks/results/demo_recipe.jsonl]

Four recipes (TRADES' beta, learning rate) x three seeds on scikit-learn's digits, L-infinity 1/10, 250 E:
the best robust accuracy under the validation attack (PGD-10 on the margin) on the 120 held-out images. One
JSON line a run; runs that the file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
from dataclasses import replace
from pathlib import Path

import torch

import harden
from harden.cli.commands.demo import BUDGET, CONTRASTIVE
from harden.models.small_networks import small_cnn
from harden.training import AdamW

BETAS, RATES, SEEDS = (4.0, 6.0), (3e-3, 5e-3), (0, 1, 2)


def measure(beta: float, rate: float, seed: int) -> dict[str, object]:
    """One run: what its best checkpoint reached on the held-out images."""
    recipe = replace(CONTRASTIVE, finetune=harden.TRADES(beta=beta), optimiser=AdamW(rate))
    train = harden.data.from_loader(harden.data.load("digits").train, 64)
    torch.manual_seed(seed)
    model = harden.Classifier(small_cnn())
    hardened = harden.harden(
        model, train, threat=harden.Linf("1/10"), recipe=recipe, budget=BUDGET, seed=seed
    )
    validated = [
        (p.robust, p.clean) for p in hardened.origin.history if p.robust is not None and p.clean is not None
    ]
    robust, clean = max(validated)
    return {"beta": beta, "lr": rate, "seed": seed, "robust": robust, "clean": clean, "n": 120}


def main(out: Path) -> None:
    """Run what is missing, then print a line a recipe."""
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["beta"], line["lr"], line["seed"]) for line in lines}
    machine = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for beta, rate, seed in itertools.product(BETAS, RATES, SEEDS):
        if (beta, rate, seed) in done:
            continue
        lines.append({**measure(beta, rate, seed), **machine, "budget": BUDGET})
        with out.open("a") as file:
            file.write(json.dumps(lines[-1], sort_keys=True) + "\n")
    for beta, rate in itertools.product(BETAS, RATES):
        robust = [line["robust"] for line in lines if (line["beta"], line["lr"]) == (beta, rate)]
        shown = ", ".join(f"{value:.3f}" for value in robust)
        mean = statistics.mean(robust)
        print(f"beta {beta:g} lr {rate:g}: held-out robust accuracy {mean:.4f} ({shown}), n = 120 each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "demo_recipe.jsonl")
    main(parser.parse_args().out)
