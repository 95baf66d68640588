"""The options of `harden export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from harden.cli.options import shared_options as opt


@final
@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of `harden export`, as they were typed or read from a file."""

    spec: opt.Spec
    data: opt.Data
    out: opt.Out
    norm: opt.Norm = "linf"
    eps: opt.Eps = "8/255"
    weights: opt.Weights = None
    mean: opt.Mean = ""
    std: opt.Std = ""
    head: opt.Head = ""
    output: opt.Output = ""
    attacks: opt.Attacks = ""
    steps: opt.Steps = None
    restarts: opt.Restarts = None
    bfloat16: opt.Bfloat16 = False
    prove: opt.Prove = "none"
    prove_minutes: opt.ProveMinutes = None
    evaluate_minutes: opt.EvaluateMinutes = None
    test_images: opt.TestImages = 0
    seed: opt.Seed = 0
    force: opt.Force = False
    config: opt.Config = None
    json_file: opt.Json = None
    verbose: opt.Verbose = False
