"""The artefact that this project gates itself by: the demo's network and recipe, with a budget of seconds.

python -m tests.gate.artefact FILE.onnx    # to make the baseline anew, as docs/ci.md says
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from harden.artefact.classifier_to_onnx import trace
from harden.cli.commands.demo import CONTRASTIVE, PLAIN
from harden.data import from_loader, load
from harden.hardening import Recipe, harden
from harden.hardening.model_spec import ModelSpec
from harden.threats import Linf

EPS = "1/10"
# The last weights: which checkpoint is the best may hang on one image, and that on the processor.
HARDENED, BUDGET = replace(CONTRASTIVE, validations=0), "60E"
WEAKENED, LITTLE = PLAIN, "5epochs"


def make(path: Path, recipe: Recipe = HARDENED, budget: str = BUDGET) -> Path:
    """Train on the demo's images, export, and write the file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the demo: the bytes should not depend on how many cores there are
    try:
        splits = load("digits")
        model = ModelSpec("small").build(splits, 0)
        source = from_loader(splits.train, 64)
        made = harden(model, source, threat=Linf(EPS), recipe=recipe, budget=budget, seed=0)
        onnx.save(trace(made.model, splits.test.image_shape), path)
    finally:
        torch.set_num_threads(threads)
    return path


if __name__ == "__main__":
    make(Path(sys.argv[1]))
