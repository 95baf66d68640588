"""Certified accuracy on MNIST at L-inf 0.1 of a small network trained for it in minutes, exported to ONNX.

    OMP_NUM_THREADS=1 python benchmarks/certified_training.py --data npz:mnist.npz --record

Claim: at least 94 % of the 10,000 test images are certified by CROWN on the exported file (intervals first),
float32 rounding included, after 18 minutes of training with one thread. Published at full length: 97 to 98 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import nn

from benchmarks.peering import provenance
from harden import harden
from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Method, Program, certify
from harden.data import from_loader, load
from harden.graph import read
from harden.hardening import Recipe
from harden.models import Classifier
from harden.objectives import CROWNIBP, IBP, MTLIBP, SABR, Objective
from harden.statistics import Proportion
from harden.threats import Linf
from harden.training import AdamW, Cosine, StepRecord

RECORD = provenance.RESULTS / "certified_training.jsonl"
OBJECTIVES: dict[str, Objective] = {
    "ibp": IBP(),
    "crown-ibp": CROWNIBP(),
    "sabr": SABR(),
    "mtl-ibp": MTLIBP(),
}


def network(seed: int) -> Classifier:
    """Two convolutions and two dense layers, 0.17 million weights, with BatchNorm."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100, bias=False),
        nn.BatchNorm1d(100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    return Classifier(layers, mean=(0.1307,), std=(0.3081,))


def certified(model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Linf) -> dict[str, Any]:
    """Export, read the file, and prove what can be proved of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(trace(model, (1, 28, 28)).SerializeToString())
        graph = read(path)
    right = torch.cat([graph.run(part).argmax(1) for part in torch.split(x, 500)]) == y
    found: dict[str, Any] = {"images": len(x), "clean": float(right.float().mean())}
    proofs = certify(Program.of(graph), x, y, threat, Method(climb=None, batch=64))
    share = Proportion.of((proofs.certified & right).tolist())
    return {
        **found,
        "certified": share.value,
        "interval": list(share.interval),
        "certify_seconds": round(proofs.seconds, 1),
    }


def main(words: list[str] | None = None) -> int:
    """Train, export, certify, print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", required=True, help="npz:FILE")
    parser.add_argument("--objective", choices=OBJECTIVES, default="ibp")
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--eps", default="0.1", help="of training; certified is always 0.1")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--ramp", type=float, default=0.3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--record", action="store_true", help=f"add a line to results/{RECORD.name}")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    origin = provenance.origin()  # of the code that runs: the tree may change meanwhile
    splits, began = load(given.data), time.perf_counter()
    recipe = Recipe(
        finetune=OBJECTIVES[given.objective],
        optimiser=AdamW(given.lr, weight_decay=0.0),
        schedule=Cosine(),
        bfloat16=False,
        ramp=given.ramp,
        validations=0,
    )
    last: list[StepRecord] = []

    def show(step: StepRecord) -> None:
        last[:] = [step]
        if step.step % 200 == 0:
            print(f"{step.progress:.0%} eps {step.eps:.3f} loss {step.loss:.4f}", file=sys.stderr, flush=True)

    hardened = harden(
        network(given.seed),
        from_loader(splits.train, given.batch),
        threat=Linf(given.eps),
        recipe=recipe,
        budget=f"{given.minutes:g}min",
        seed=given.seed,
        on_step=show,
    )
    line: dict[str, Any] = {
        "data": given.data.rpartition("/")[2],
        "objective": repr(recipe.finetune),
        "eps": "0.1",
        "trained_eps": given.eps,
        "lr": given.lr,
        "ramp": given.ramp,
        "batch": given.batch,
        "seed": given.seed,
        "epochs": round(last[0].examples / len(splits.train.x), 2),
        "passes": round(last[0].passes, 1),
        "train_seconds": round(time.perf_counter() - began, 1),
        "threads": given.threads,
    }
    test = splits.test.batch(torch.arange(min(given.images, len(splits.test))))
    line.update(certified(hardened.model, test.x, test.y, Linf("0.1")))
    print(json.dumps(line), flush=True)
    if given.record:
        provenance.append(RECORD, {**line, **origin})
    return 0


if __name__ == "__main__":
    sys.exit(main())
