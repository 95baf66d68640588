"""Options that several commands have: the type and help text of each, written once."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from harden.cli.options.config_file import fill_defaults
from harden.errors import InputError
from harden.standard_streams import LogStream, say
from harden.system.package_metadata import VERSION

_KEPT = (".onnx", ".npz", ".safetensors", ".pt", ".pth", ".py", ".toml")


def show_log(verbose: bool) -> bool:
    """Let the library's log be seen; without -v its warnings alone."""
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=LogStream(), format="%(name)s: %(message)s")
    logging.getLogger("harden").setLevel(logging.INFO if verbose else logging.WARNING)
    return verbose


def _show_log_too(verbose: bool) -> bool:
    return show_log(True) if verbose else False


def _say_version(requested: bool) -> None:
    if requested:
        say(f"harden {VERSION}")
        raise typer.Exit


def writable(path: Path | None) -> Path | None:
    """Refuse a --json file that can't be written before the work is done, not after."""
    if path is not None:
        above = next((folder for folder in path.absolute().parents if folder.exists()), path)
        if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
            seen = f"{path} can't be written"
            raise InputError(seen, "a file in a folder that can be written", "name another file")
    return path


def answer_file(path: Path | None) -> Path | None:
    """As `writable`, and refuse what nobody means to replace by an answer: a model, data, a certificate."""
    if path is not None and path.is_file() and (path.suffix in _KEPT or path.name == "certificate.json"):
        raise InputError(f"{path}, which is there and is no answer of a command", "another file", "name one")
    return writable(path)


Spec = Annotated[str, typer.Argument(help="A run's folder, an ONNX file, or a model as for --model.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="small | torchvision:NAME | module:function (called with in_channels, num_classes, image_size "
        "where it takes them)",
        show_default=True,
    ),
]
Weights = Annotated[Path | None, typer.Option(help="A safetensors file with the network's weights.")]
Mean = Annotated[str, typer.Option(help="Normalisation the network was trained with: 0.485,0.456,0.406")]
Std = Annotated[str, typer.Option(help="Its standard deviations: 0.229,0.224,0.225")]
Head = Annotated[str, typer.Option(help="Name of the network's last linear layer, where it is not found.")]
Output = Annotated[
    str, typer.Option(help="Key, attribute or position of the logits in what the network returns.")
]
Data = Annotated[
    str,
    typer.Option("--data", help="digits | npz:FILE | folder:DIR | torchvision:NAME:ROOT | module:function"),
]
Norm = Annotated[str, typer.Option(help="linf | l2 | l1")]
Eps = Annotated[str, typer.Option(help="Perturbation budget in pixel units of [0, 1], such as 8/255.")]
Attacks = Annotated[
    str,
    typer.Option(
        "--attacks",
        help="standard (as AutoAttack) | thorough | quick | pgd | module:function (returns a tuple of "
        "Attempt): attacks of the evaluation; standard, or pgd where its --steps or --restarts are given.",
        show_default="standard",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", help="Steps of each PGD in the evaluation, for --attacks pgd.", show_default="50"
    ),
]
Restarts = Annotated[
    int | None,
    typer.Option("--restarts", help="Restarts of each PGD in the evaluation, likewise.", show_default="3"),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="End after so many minutes; what is finished by then is the result, and says so."),
]
Journal = Annotated[
    Path | None,
    typer.Option(help="A folder that keeps each finished batch; given again, the evaluation resumes."),
]
EpsList = Annotated[
    str, typer.Option("--eps", help="Perturbation budget in pixel units of [0, 1]; several with commas.")
]
Bfloat16 = Annotated[
    bool,
    typer.Option(
        "--bfloat16", help="Gradients of a bfloat16 copy, in training and in the attacks pgd and quick."
    ),
]
TestImages = Annotated[
    int, typer.Option("--test-images", help="Evaluate on a fixed stratified sample of this size; 0 for all.")
]
DecisionThreshold = Annotated[
    float | None,
    typer.Option(
        "--decision-threshold",
        help="Of two classes: positive (the second class) from this probability on; attacks go by it too.",
    ),
]
MeasureCalibration = Annotated[
    bool,
    typer.Option("--calibration", help="Also: how confidence and accuracy compare, clean and attacked."),
]
MeasureCorruptions = Annotated[
    bool, typer.Option("--corruptions", help="Also: accuracy under noise, blur, compression and the like.")
]
DataToProve = Annotated[
    str,
    typer.Option("--data", help="As for evaluate: the test images to prove; or else give --vnnlib."),
]
Vnnlib = Annotated[
    Path | None,
    typer.Option("--vnnlib", help="A VNN-LIB 1.0 property; the last line says unsat, sat or unknown."),
]
Witness = Annotated[
    Path | None,
    typer.Option("--witness", callback=writable, help="Where to write a counterexample (.npy), if sat."),
]
ProofMethod = Annotated[
    str,
    typer.Option(
        "--method",
        help="ibp | crown | alpha-crown (of images, by default) | branch-and-bound (of --vnnlib): how hard a "
        "proof is tried.",
        show_default=False,
    ),
]
RadiusSteps = Annotated[
    int,
    typer.Option("--radius-steps", help="Steps of the bisection of each image's radius; 0 for eps alone."),
]
ProofAttacks = Annotated[
    str,
    typer.Option(
        "--attacks", help="pgd | quick | standard | thorough | module:function: the attacks on each image."
    ),
]
ProofMinutes = Annotated[
    float | None,
    typer.Option("--minutes", help="End the search for proofs after so many minutes; 5 with --vnnlib."),
]
Twin = Annotated[
    str,
    typer.Option(
        help="Of an ONNX file: another model, as for --model, whose gradients the attacks use too; the "
        "options for models are then its own."
    ),
]
BlackBox = Annotated[
    bool,
    typer.Option("--black-box", help="Of an ONNX file: do not read its graph, query its scores alone."),
]
Prove = Annotated[
    str,
    typer.Option(
        "--prove", help="none | ibp | crown | alpha-crown | branch-and-bound: also prove, at quarters of eps."
    ),
]
ProveMinutes = Annotated[
    float | None, typer.Option("--prove-minutes", help="End these proofs after so many minutes.")
]
EvaluateMinutes = Annotated[
    float | None,
    typer.Option(
        "--evaluate-minutes",
        help="End the file's evaluation after so many minutes; the certificate is of the images that are "
        "finished by then.",
    ),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Batch = Annotated[int, typer.Option("--batch-size", help="Images at a time.")]
Out = Annotated[Path, typer.Option(help="The artefact's folder: empty, missing, or one to replace.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,  # before the options whose defaults it gives
        callback=fill_defaults,
        help="A TOML file with these options by name, or a pyproject.toml with \\[tool.harden]; by default "
        "the harden.toml in this folder, where there is one; none for no file.",
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", callback=answer_file, help="Write the result to this file as JSON."),
]
PageFile = Annotated[
    Path | None, typer.Option("--out", help="Where to write the page; FOLDER/report.html by default.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the artefact that --out holds; without it none is replaced.")
]
VerboseFirst = Annotated[bool, typer.Option("--verbose", "-v", help="Show the library's log.")]
Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_show_log_too, help="Show the library's log.")
]
