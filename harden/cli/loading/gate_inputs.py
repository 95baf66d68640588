"""File, images and settings of the regression gate's commands, from their options and back."""

from __future__ import annotations

from collections.abc import Sequence

from harden.certificate.unreliable_reasons import NextCommand
from harden.cli.loading.evaluation_data import for_evaluation
from harden.cli.output.console import ProgressDisplay, print_warning
from harden.cli.output.unreliable_exit import step_after
from harden.deployed.evidence_level import FileAccess
from harden.deployed.onnx_classifier import file_of
from harden.evaluation import Phase
from harden.hardening.model_spec import numbers
from harden.models.wrapping_checks import check_normalisation
from harden.regression.baseline_records import Check
from harden.regression.measure import USUAL_BATCH, CheckSpec, FileMeasurer


def file_access(black_box: bool, mean: str, std: str) -> FileAccess:
    """Read the options for access to the file, as they were typed.

    Raises:
        InputError: mean and std are no numbers, or do not fit together.
    """
    values = numbers("--mean", mean), numbers("--std", std)
    check_normalisation(*values)
    return FileAccess(None, black_box, *values)


def gate_file(model: str, data: str, access: FileAccess, batch_size: int) -> FileMeasurer:
    """Find a file, or the one in a folder, and load the data of a spec.

    Raises:
        InputError: there is no such file, or the data can't be read.
    """
    return FileMeasurer(file_of(model), for_evaluation(data, model), access, batch_size)


def measure_visibly(
    measurer: FileMeasurer, spec: CheckSpec, minutes: float | None = None
) -> tuple[Check, tuple[str, ...]]:
    """Measure with a progress bar, and warn if accuracy can't be distinguished from guessing."""
    with ProgressDisplay() as watch:
        found = measurer.measure(spec, lambda at: watch.phase(Phase.of("attack", at)), minutes)
    if measurer.caution:
        print_warning(measurer.caution)
    return found


def next_step(
    measurer: FileMeasurer, data: str, spec: CheckSpec, command: Sequence[str], more: Sequence[str] = ()
) -> NextCommand | None:
    """Give the command to run after the last measurement; None where no trust check fired.

    Args:
        measurer: of the file.
        data: the spec of its data, as it was typed.
        spec: what was measured.
        command: that measures again, "evaluate" or "baseline", "update".
        more: its options in addition to those of the measurement.
    """
    words = [
        *command,
        str(measurer.path),
        "--data",
        data,
        *_setting_words(spec),
        *_access_words(measurer),
        *more,
    ]
    return step_after(words, measurer.checks, spec.attacks, spec.steps, spec.restarts)


def _access_words(measurer: FileMeasurer) -> list[str]:
    access = measurer.access
    words = [] if measurer.batch_size == USUAL_BATCH else ["--batch-size", str(measurer.batch_size)]
    words += ["--black-box"] if access.black_box else []
    for option, values in (("--mean", access.mean), ("--std", access.std)):
        words += [] if values is None else [option, ",".join(map(str, values))]
    return words


def _setting_words(spec: CheckSpec) -> list[str]:
    words = ["--norm", spec.norm, "--eps", spec.eps]
    words += ["--test-images", str(spec.sample)] if spec.sample else []
    return [*words, "--seed", str(spec.seed)] if spec.seed else words
