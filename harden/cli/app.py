"""The commands and their options. Each imports what it runs when it runs, so that --help stays fast."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harden.errors import HardenError, InputError

app = typer.Typer(
    name="harden",
    help="Harden image classifiers, export them to ONNX, attach evidence that anyone can check again.",
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 good, 1 the answer is bad, 2 usage or input, 70 our own fault.",
)

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
Data = Annotated[
    str,
    typer.Option("--data", help="digits | npz:FILE | folder:DIR | torchvision:NAME:ROOT | module:function"),
]
Norm = Annotated[str, typer.Option(help="linf | l2")]
Eps = Annotated[str, typer.Option(help="Perturbation budget in pixel units of [0, 1], such as 8/255.")]
Steps = Annotated[int, typer.Option(help="Steps of each PGD in the evaluation.")]
Restarts = Annotated[int, typer.Option(help="Restarts of each PGD in the evaluation.")]
TestImages = Annotated[
    int, typer.Option("--test-images", help="Evaluate on a fixed stratified sample of this size; 0 for all.")
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Batch = Annotated[int, typer.Option("--batch-size", help="Images at a time.")]


def _writable(path: Path | None) -> Path | None:
    """Refuse a --json file that can't be written before the work is done, not after."""
    if path is not None:
        above = next((folder for folder in path.absolute().parents if folder.exists()), path)
        if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
            seen = f"{path} can't be written"
            raise InputError(seen, "a file in a folder that can be written", "name another file")
    return path


Json = Annotated[
    Path | None,
    typer.Option("--json", callback=_writable, help="Write the result to this file as JSON."),
]


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the library's log.")] = False,
) -> None:
    """Options of all commands."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The artefact's folder.")] = Path("runs/digits"),
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Do the whole job on scikit-learn's handwritten digits, in about a minute."""
    from harden.cli.demo import demo as command

    _leave(command(out, seed, json_file))


@app.command()
def run(
    data: Data,
    out: Annotated[Path, typer.Option(help="The artefact's folder: empty, missing, or one to replace.")],
    model: Model = "small",
    weights: Weights = None,
    mean: Mean = "",
    std: Std = "",
    norm: Norm = "linf",
    eps: Eps = "8/255",
    pretrain: Annotated[str, typer.Option(help="none | simclr | moco | acl (attacked views)")] = "none",
    finetune: Annotated[
        str, typer.Option(help="trades | madry | standard | probe (the head alone)")
    ] = "trades",
    beta: Annotated[float, typer.Option(help="TRADES' weight of robustness.")] = 6.0,
    budget: Annotated[str, typer.Option(help="10min | 300E (passes per training image) | 3epochs")] = "10min",
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1e-3,
    steps: Steps = 50,
    restarts: Restarts = 3,
    test_images: TestImages = 0,
    batch_size: Batch = 128,
    seed: Seed = 0,
    device: Device = "cpu",
    json_file: Json = None,
) -> None:
    """Harden a model, export it, attack the exported file and certify what was found."""
    from harden.cli.run import Choice
    from harden.cli.run import run as command
    from harden.cli.specs import ModelSpec

    choice = Choice(
        pretrain, finetune, beta, budget, lr, steps, restarts, test_images, batch_size, seed, device
    )
    _leave(command(ModelSpec.of(model, weights, mean, std), data, (norm, eps), choice, out, json_file))


@app.command()
def evaluate(
    spec: Annotated[str, typer.Argument(help="A run's folder, or a model as for --model.")],
    data: Data,
    norm: Norm = "linf",
    eps: Eps = "8/255",
    weights: Weights = None,
    mean: Mean = "",
    std: Std = "",
    steps: Steps = 50,
    restarts: Restarts = 3,
    test_images: TestImages = 0,
    batch_size: Batch = 256,
    seed: Seed = 0,
    device: Device = "cpu",
    json_file: Json = None,
) -> None:
    """Measure clean and robust accuracy on the test images; of a run's folder, the file decides."""
    from harden.cli.evaluate import Plan
    from harden.cli.evaluate import evaluate as command
    from harden.cli.specs import ModelSpec

    plan = Plan(norm, eps, steps, restarts, test_images, batch_size, seed, device)
    _leave(command(ModelSpec.of(spec, weights, mean, std), data, plan, json_file))


@app.command()
def export(
    spec: Annotated[str, typer.Argument(help="A run's folder, or a model as for --model.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="The artefact's folder: empty, missing, or one to replace.")],
    norm: Norm = "linf",
    eps: Eps = "8/255",
    weights: Weights = None,
    mean: Mean = "",
    std: Std = "",
    steps: Steps = 50,
    restarts: Restarts = 3,
    test_images: TestImages = 0,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Export a model as it is to a parity-checked ONNX file, and certify the file."""
    from harden.cli.evaluate import Plan
    from harden.cli.export import export as command
    from harden.cli.specs import ModelSpec

    plan = Plan(norm, eps, steps, restarts, test_images, 256, seed, "cpu")
    _leave(command(ModelSpec.of(spec, weights, mean, std), data, plan, out, json_file))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="An artefact's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page; FOLDER/report.html by default.")
    ] = None,
) -> None:
    """Write the page of a certificate again, from certificate.json alone."""
    from harden.cli.report import report as command

    command(folder, out)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def verify(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="An artefact's folder.")]
) -> None:
    """Check an artefact without torch: digests, counts, and every stored witness in onnxruntime."""
    # `harden verify` alone is answered before typer is loaded; this is reached behind global options.
    from harden.verifier.command import main as command

    _leave(command([str(folder), *context.args]))


@app.command()
def doctor(json_file: Json = None) -> None:
    """Say what is installed, which kernels are active, and why."""
    from harden.cli.doctor import doctor as command

    _leave(command(json_file))


# What no program can help: a full or read-only disk, a quota, missing rights.
_SURROUNDINGS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def run_app(words: list[str]) -> int:
    """Run the typer application and turn what happens into an exit code."""
    from harden.cli import INTERRUPTED, OUR_FAULT, USAGE

    try:
        result = app(args=words or ["--help"], prog_name="harden", standalone_mode=False)
    except HardenError as error:
        print(f"harden: {error}", file=sys.stderr)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            logging.getLogger("harden").exception("this is a fault of harden itself; please report it")
            return OUR_FAULT
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"harden: {where}{error.strerror}; expected a disk with room and the right to write; "
            "free some, or write another --out",
            file=sys.stderr,
        )
        return USAGE
    except Exception as error:
        if _is_usage(error):
            print(f"harden: {_usage(error, words)}", file=sys.stderr)
            return USAGE
        logging.getLogger("harden").exception("this is a fault of harden itself; please report it")
        return OUR_FAULT
    if not words:
        return USAGE
    if result == INTERRUPTED:  # some versions of typer raise, some give the code
        print("harden: interrupted; nothing half-written was left", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _is_usage(error: Exception) -> bool:
    # By name: typer brings a click of its own from 0.2x on and takes the installed one before.
    return any(kind.__name__ == "ClickException" for kind in type(error).__mro__)


def _usage(error: Exception, words: list[str]) -> HardenError:
    """What typer says of a wrong word, in three parts and on one line."""
    message = getattr(error, "format_message", error.__str__)()
    commands = {
        command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands
    }
    named = next((word for word in words if word in commands), "")
    known = "its options and values" if named else ", ".join(sorted(commands))
    return HardenError(
        " ".join(message.split()).rstrip("."), known, f"see {' '.join(('harden', named)).strip()} --help"
    )
