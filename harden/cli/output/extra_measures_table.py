"""Tables of the extra measures of `harden evaluate`: operating point, calibration, corruptions."""

from __future__ import annotations

import math

from harden.cli.output.console import say, say_table
from harden.evaluation import CalibrationRecord, CorruptionRecord, OperatingPoint, mean_accuracy
from harden.evaluation.natural.corruptions import SEVERITIES
from harden.evaluation.natural.extra_measures import ATTACKED, OWN, ExtraResults


def show(more: ExtraResults, classes: tuple[str, ...]) -> None:
    """Print the results."""
    if more.decision is not None:
        _show_decision(more.decision, f"p >= {more.threshold:g}", classes)
    if more.clean is not None:
        _show_calibration(more.clean, more.attacked)
    if more.corruptions:
        _show_corruptions(more.corruptions)


def _show_decision(point: OperatingPoint, at: str, classes: tuple[str, ...]) -> None:
    say(f"decision: {classes[point.positive]} is positive, from {at} on; prevalence {point.prevalence}")
    for name, rate in (("sensitivity", point.sensitivity), ("specificity", point.specificity)):
        if rate is not None:
            robust = f", robust at most {rate.robust}" if point.status == "ok" else ""
            say(f"{name}: clean {rate.clean}{robust}")
    for line in point.missing:
        say(line)


def _show_calibration(clean: CalibrationRecord, attacked: CalibrationRecord | None) -> None:
    for name, record in (("clean", clean), ("attacked", attacked)):
        if record is None:
            continue
        found = record.reliability
        low, high = _outwards(found.interval(), 10**4)
        say(
            f"calibration error, {name}: {found.ece:.4f} [{low:.4f}, {high:.4f}] "
            f"(n = {found.n - found.not_finite}, {len(found.bins)} bins); "
            f"bins of equal mass {record.adaptive_ece:.4f}; Brier score {found.brier:.4f}"
        )
        if found.not_finite:
            say(f"  {found.not_finite} of {found.n} images without finite logits: wrong, and in no bin")
    if attacked is None:
        say("calibration error, attacked: not given, for the evaluation is unreliable")
    else:
        say(f"attacked: {ATTACKED} ({attacked.replaced} of {attacked.reliability.n} images replaced)")
    say(OWN)


def _show_corruptions(records: tuple[CorruptionRecord, ...]) -> None:
    say(f"under common corruptions, no adversary, accuracy in % by severity; clean {records[0].clean}")
    rows = []
    for record in records:
        values = (*(each.value for each in record.accuracy), record.mean)
        rows.append((record.name, *(f"{100 * value:.1f}" for value in values)))
    say_table(("corruption", *map(str, SEVERITIES), "mean"), rows, right_from=1)
    mean = mean_accuracy(records)
    low, high = (100 * end for end in _outwards(mean.interval, 10**3))
    say(f"mean corruption accuracy {100 * mean.value:.1f} % [{low:.1f}, {high:.1f}] (n = {mean.n})")


def _outwards(interval: tuple[float, float], steps: int) -> tuple[float, float]:
    """The printed interval must not be narrower than the one that was computed."""
    low, high = interval
    return math.floor(low * steps) / steps, math.ceil(high * steps) / steps
