"""The options of `harden certify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import typer

from harden.cli.options import shared_options as opt


@final
@dataclass(frozen=True, slots=True)
class CertifyOptions:
    """The options of `harden certify`, as they were typed or read from a file."""

    spec: Annotated[str, typer.Argument(help="An ONNX file, or a run's folder.")]
    data: opt.DataToProve = ""
    vnnlib: opt.Vnnlib = None
    norm: opt.Norm = "linf"
    eps: opt.Eps = "8/255"
    method: opt.ProofMethod = ""
    radius_steps: opt.RadiusSteps = 4
    attacks: opt.ProofAttacks = "quick"
    minutes: opt.ProofMinutes = None
    witness: opt.Witness = None
    journal: opt.Journal = None
    test_images: opt.TestImages = 0
    batch_size: opt.Batch = 256
    seed: opt.Seed = 0
    device: opt.Device = "cpu"
    config: opt.Config = None
    json_file: opt.Json = None
    verbose: opt.Verbose = False
