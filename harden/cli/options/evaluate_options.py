"""The options of `harden evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

from harden.cli.options import shared_options as opt


@final
@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The options of `harden evaluate`, as they were typed or read from a file."""

    spec: opt.Spec
    data: opt.Data
    norm: opt.Norm = "linf"
    eps: opt.EpsList = "8/255"
    weights: opt.Weights = None
    mean: opt.Mean = ""
    std: opt.Std = ""
    head: opt.Head = ""
    output: opt.Output = ""
    attacks: opt.Attacks = ""
    steps: opt.Steps = None
    restarts: opt.Restarts = None
    bfloat16: opt.Bfloat16 = False
    decision_threshold: opt.DecisionThreshold = None
    calibration: opt.MeasureCalibration = False
    corruptions: opt.MeasureCorruptions = False
    minutes: opt.Minutes = None
    journal: opt.Journal = None
    test_images: opt.TestImages = 0
    batch_size: opt.Batch = 256
    seed: opt.Seed = 0
    device: opt.Device = "cpu"
    twin: opt.Twin = ""
    black_box: opt.BlackBox = False
    certificate: Annotated[
        Path | None,
        typer.Option(help="Also: write the ONNX file with a certificate of what was found into this folder."),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Replace the artefact that the folder of --certificate holds.")
    ] = False
    config: opt.Config = None
    json_file: opt.Json = None
    verbose: opt.Verbose = False
