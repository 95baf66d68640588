"""The file, images and settings of the regression gate's commands, from their options and back."""

from __future__ import annotations

from collections.abc import Sequence

from harden.certificate.unreliable_reasons import NextCommand
from harden.cli.loading.model_spec import numbers
from harden.cli.loading.test_data import for_evaluation
from harden.cli.output.console import Watch, print_warning
from harden.cli.output.unreliable_exit import step_after
from harden.deployed.onnx_classifier import file_of
from harden.evaluation import Phase
from harden.models.wrapping_checks import check_normalisation
from harden.regression.baseline_records import Check
from harden.regression.measure import USUAL_BATCH, Ask, Gauge, Way


def way_of(batch_size: int, black_box: bool, mean: str, std: str) -> Way:
    """Read the options for access to the file, as they were typed.

    Raises:
        InputError: mean and std are no numbers, or do not fit together.
    """
    values = numbers("--mean", mean), numbers("--std", std)
    check_normalisation(*values)
    return Way(batch_size, black_box, *values)


def gate_file(model: str, data: str, way: Way) -> Gauge:
    """Find a file, or the one in a folder, and load the data of a spec.

    Raises:
        InputError: there is no such file, or the data can't be read.
    """
    return Gauge(file_of(model), for_evaluation(data, model), way)


def measure_visibly(gauge: Gauge, ask: Ask, minutes: float | None = None) -> tuple[Check, tuple[str, ...]]:
    """Measure with a progress bar, and print the warning that accuracy can't be told from guessing."""
    with Watch() as watch:
        found = gauge.measure(ask, lambda at: watch.phase(Phase.of("attack", at)), minutes)
    if gauge.caution:
        print_warning(gauge.caution)
    return found


def next_step(
    gauge: Gauge, data: str, ask: Ask, command: Sequence[str], more: Sequence[str] = ()
) -> NextCommand | None:
    """Give the command to run after the last measurement; None where no trust check fired.

    Args:
        gauge: what measured.
        data: the spec of its data, as it was typed.
        ask: what was measured.
        command: that measures again, "evaluate" or "baseline", "update".
        more: its options in addition to those of the measurement.
    """
    words = [*command, str(gauge.path), "--data", data, *_setting_words(ask), *_way_words(gauge.way), *more]
    return step_after(words, gauge.checks, ask.attacks, ask.steps, ask.restarts)


def _way_words(way: Way) -> list[str]:
    words = [] if way.batch_size == USUAL_BATCH else ["--batch-size", str(way.batch_size)]
    words += ["--black-box"] if way.black_box else []
    for option, values in (("--mean", way.mean), ("--std", way.std)):
        words += [] if values is None else [option, ",".join(map(str, values))]
    return words


def _setting_words(ask: Ask) -> list[str]:
    words = ["--norm", ask.norm, "--eps", ask.eps]
    words += ["--test-images", str(ask.sample)] if ask.sample else []
    return [*words, "--seed", str(ask.seed)] if ask.seed else words
