"""The commands and their options. Each imports what it runs when it runs, so that --help stays fast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harden.cli.gate_app import register as register_gate
from harden.cli.options import shared_options as opt
from harden.cli.options.certify_options import CertifyOptions
from harden.cli.options.config_file import origins
from harden.cli.options.evaluate_options import EvaluateOptions
from harden.cli.options.export_options import ExportOptions
from harden.cli.options.run_options import RunOptions
from harden.cli.options.signature import takes

app = typer.Typer(
    name="harden",
    help="Harden image classifiers, export them to ONNX, attach evidence that anyone can check again.",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 good, 1 the answer is bad, 2 usage or input, 3 inconclusive where that is to fail, "
    "4 no or unfit baseline, 70 our own fault.",
)
Folder = Annotated[Path, typer.Argument(help="An artefact's folder.")]


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)


@app.callback()
def everywhere(verbose: opt.VerboseFirst = False, version: opt.Version = False) -> None:
    """Options of all commands."""
    opt.show_log(verbose)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The artefact's folder.")] = Path("runs/digits"),
    seed: opt.Seed = 0,
    force: opt.Force = False,
    json_file: opt.Json = None,
    verbose: opt.Verbose = False,
) -> None:
    """Do the whole job on scikit-learn's handwritten digits, in about three minutes."""
    from harden.cli.commands.demo import demo as command

    _leave(command(out, seed, json_file, force=force))


@app.command()
@takes(RunOptions)
def run(context: typer.Context, options: RunOptions) -> int:
    """Harden a model, export it, attack the exported file and certify what was found."""
    from harden.cli.commands.dry_run import dry_run
    from harden.cli.commands.run import run as command

    options = replace(options, origins=origins(context))
    return dry_run(options) if options.dry_run else command(options)


@app.command()
@takes(EvaluateOptions)
def evaluate(_: typer.Context, options: EvaluateOptions) -> int:
    """Measure clean and robust accuracy on the test images; of a run's folder, the file decides."""
    from harden.cli.commands.evaluate import evaluate as command

    return command(options)


@app.command()
@takes(CertifyOptions)
def certify(_: typer.Context, options: CertifyOptions) -> int:
    """Prove of each test image, or of a VNN-LIB property, what holds for the file in float32."""
    from harden.cli.commands.certify import certify as command

    return command(options)


@app.command()
@takes(ExportOptions)
def export(_: typer.Context, options: ExportOptions) -> int:
    """Export a model as it is to a parity-checked ONNX file, and certify the file."""
    from harden.cli.commands.export import export as command

    return command(options)


@app.command()
def report(
    folder: Folder,
    out: opt.PageFile = None,
) -> None:
    """Write the page of a certificate again, from certificate.json alone."""
    from harden.cli.commands.report import report as command

    command(folder, out)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def verify(context: typer.Context, folder: Folder) -> None:
    """Check an artefact without torch: digests, counts, and every stored witness in onnxruntime."""
    # `harden verify` alone is answered before typer is loaded; this is reached behind global options.
    from harden.cli.commands.verify_page import check_page
    from harden.verifier.verify_command import main as command

    _leave(command([str(folder), *context.args], check_page))


@app.command()
def doctor(json_file: opt.Json = None) -> None:
    """Say what is installed, which kernels are active, and why."""
    from harden.cli.commands.doctor import doctor as command

    _leave(command(json_file))


register_gate(app)

COMMANDS = (
    *(each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands),
    *(str(each.name) for each in app.registered_groups),
)
