"""The commands of the regression gate, and of its set-up in a repository, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harden.cli.options import shared_options as opt

Model = Annotated[str, typer.Argument(help="An ONNX file, or a folder with a model.onnx.")]
BaselineFile = Annotated[Path, typer.Option("--baseline", help="The committed file.")]
BaselineToCheck = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        help="The committed file; robustness-baseline.json, or none with --bench, for speed alone.",
        show_default=False,
    ),
]
BenchFile = Annotated[
    str,
    typer.Option("--bench", help="Also: compare times with those of this ONNX file, measured in this job."),
]
BenchRounds = Annotated[int, typer.Option("--bench-rounds", help="How often both are timed.")]
BenchMargin = Annotated[str, typer.Option("--bench-margin", help="By how much slower is too slow: 10%.")]
BenchImages = Annotated[int, typer.Option("--bench-images", help="Test images that are timed on.")]
Margin = Annotated[str, typer.Option(help="The drop that has to be excluded: 2pp, 2% or 0.02.")]
Alpha = Annotated[float, typer.Option(help="Chance of a false FAIL in all, and of a false PASS of each.")]
Floor = Annotated[str, typer.Option(help="Least robust accuracy, such as 40%.")]
CleanFloor = Annotated[str, typer.Option("--clean-floor", help="Least clean accuracy.")]
CertifiedFloor = Annotated[str, typer.Option("--certified-floor", help="Least certified accuracy.")]
Inconclusive = Annotated[str, typer.Option(help="warn (exit 0) | fail (exit 3)")]
Certify = Annotated[bool, typer.Option("--certify", help="Also: how many images are proved.")]
CheckMinutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", help="End after so many minutes; what is finished by then is compared, and is no PASS."
    ),
]
FileMean = Annotated[
    str,
    typer.Option("--mean", help="Where the file expects normalised images: their mean, 0.485,0.456,0.406"),
]
FileStd = Annotated[str, typer.Option("--std", help="Likewise their standard deviation, 0.229,0.224,0.225")]
Label = Annotated[str, typer.Option(help="Whose checks, where a baseline holds those of several models.")]
Accept = Annotated[
    str | None,
    typer.Option("--accept-regression", help="Why a step down is accepted; the baseline keeps it."),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", callback=opt.answer_file, help="Write JUnit's XML to this file.")
]
Markdown = Annotated[
    Path | None, typer.Option("--md", callback=opt.answer_file, help="Write Markdown to this file.")
]
Html = Annotated[
    Path | None, typer.Option("--html", callback=opt.answer_file, help="Write a page to this file.")
]
Old = Annotated[Path, typer.Argument(help="The earlier baseline.")]
New = Annotated[Path, typer.Argument(help="The later one.")]

Repository = Annotated[Path, typer.Argument(help="The repository's folder.")]
ItsModel = Annotated[str, typer.Option("--model", help="The ONNX file to gate, from that folder on.")]
ItsData = Annotated[str, typer.Option("--data", help="Its test images, as for harden check.")]
Install = Annotated[
    str, typer.Option(help="What the jobs install, as pip takes it; by default the harden that runs.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]

SuiteName = Annotated[
    str,
    typer.Option(
        "--attacks",
        help="standard (as AutoAttack) | thorough | quick | pgd: attacks of the evaluation; standard, or pgd "
        "where its --steps or --restarts are given. A baseline names no code of a user's.",
        show_default="standard",
    ),
]

DEFAULT = Path("robustness-baseline.json")

baseline_app = typer.Typer(help="Make, show and compare the file that harden check compares with.")


def register(app: typer.Typer) -> None:
    """Add `harden check`, `harden baseline` and `harden init` to an application."""
    app.command()(check)
    app.add_typer(baseline_app, name="baseline")
    app.command()(init)


def check(
    context: typer.Context,
    model: Model,
    data: opt.Data,
    baseline: BaselineToCheck = None,
    margin: Margin = "2pp",
    alpha: Alpha = 0.05,
    floor: Floor = "",
    clean_floor: CleanFloor = "",
    certified_floor: CertifiedFloor = "",
    inconclusive: Inconclusive = "warn",
    label: Label = "",
    bench: BenchFile = "",
    bench_rounds: BenchRounds = 15,
    bench_margin: BenchMargin = "10%",
    bench_images: BenchImages = 32,
    black_box: opt.BlackBox = False,
    mean: FileMean = "",
    std: FileStd = "",
    minutes: CheckMinutes = None,
    batch_size: opt.Batch = 256,
    junit: Junit = None,
    md: Markdown = None,
    html: Html = None,
    json_file: opt.Json = None,
    config: opt.Config = None,
    verbose: opt.Verbose = False,
) -> None:
    """Compare a file with the committed baseline on the same images: PASS, FAIL or INCONCLUSIVE."""
    from harden.cli.commands.check import GateOptions, ReportFiles, share, slowdown, typed
    from harden.cli.commands.check import check as command
    from harden.cli.loading.gate_inputs import file_access
    from harden.cli.options.config_file import settings_of
    from harden.regression.timing.measure_speed import SpeedCheck
    from harden.regression.verdict import Rule

    floors = (
        ("robust", "--floor", floor),
        ("clean", "--clean-floor", clean_floor),
        ("certified", "--certified-floor", certified_floor),
    )
    least = tuple((name, share(option, text)) for name, option, text in floors if text)
    rule = Rule(share("--margin", margin), alpha, least)
    speed = SpeedCheck(bench, bench_rounds, slowdown(bench_margin), alpha, bench_images) if bench else None
    known = baseline if baseline is not None or bench else DEFAULT
    access = file_access(black_box, mean, std)
    made = typed(settings_of(context, config, "baseline-update"))
    gate = GateOptions(known, rule, inconclusive, access, batch_size, label, speed, minutes, made)
    if code := command(model, data, gate, ReportFiles(junit, md, json_file, html)):
        raise typer.Exit(code)


@baseline_app.callback()
def baseline() -> None:
    """Make, show and compare the file that harden check compares with."""


@baseline_app.command()
def update(
    model: Model,
    data: opt.Data,
    norm: opt.Norm = "linf",
    eps: opt.Eps = "8/255",
    attacks: SuiteName = "",
    steps: opt.Steps = None,
    restarts: opt.Restarts = None,
    test_images: opt.TestImages = 0,
    certify: Certify = False,
    label: Label = "",
    baseline: BaselineFile = DEFAULT,
    accept_regression: Accept = None,
    black_box: opt.BlackBox = False,
    mean: FileMean = "",
    std: FileStd = "",
    batch_size: opt.Batch = 256,
    seed: opt.Seed = 0,
    json_file: opt.Json = None,
    config: opt.Config = None,
    verbose: opt.Verbose = False,
) -> None:
    """Measure a file and write it into the baseline; a step down needs a reason."""
    from harden.cli.commands.baseline import update as command
    from harden.cli.loading.gate_inputs import file_access, gate_file
    from harden.evaluation.suite_lookup import chosen
    from harden.regression.measure import CheckSpec

    suite = chosen(attacks, steps, restarts)
    own = (suite.attacks, suite.steps, suite.restarts)
    spec = CheckSpec(norm, eps, *own, test_images, seed, certify, label)
    measurer = gate_file(model, data, file_access(black_box, mean, std), batch_size)
    if code := command(measurer, data, spec, baseline, accept_regression, json_file):
        raise typer.Exit(code)


@baseline_app.command()
def show(baseline: BaselineFile = DEFAULT) -> None:
    """Print what a baseline holds."""
    from harden.cli.commands.baseline import show as command

    command(baseline)


@baseline_app.command()
def diff(old: Old, new: New, margin: Margin = "2pp", alpha: Alpha = 0.05) -> None:
    """Compare two baselines, as check would; 1 where the later one has regressed."""
    from harden.cli.commands.baseline import diff as command
    from harden.cli.commands.check import share
    from harden.regression.verdict import Rule

    if code := command(old, new, Rule(share("--margin", margin), alpha)):
        raise typer.Exit(code)


def init(
    folder: Repository = Path(),
    model: ItsModel = "model.onnx",
    data: ItsData = "npz:test.npz",
    norm: opt.Norm = "linf",
    eps: opt.Eps = "8/255",
    install: Install = "",
    force: Force = False,
) -> None:
    """Write harden.toml, a test and jobs for GitHub and GitLab, which gate a model of a repository."""
    from harden.cli.commands.init import init as command
    from harden.regression.repository_setup import GateTarget

    command(folder, GateTarget(model, data, norm, eps, install), force)
