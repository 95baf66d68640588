"""`harden check`: the regression gate's verdict, printed and written to files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from harden.cli.loading.gate_inputs import gate_file, measure_visibly, next_step
from harden.cli.options.command_clock import minutes_left, within
from harden.cli.output.console import ProgressDisplay, annotate, say_lines, write_file, write_json
from harden.deployed.evidence_level import FileAccess
from harden.errors import BaselineError, HardenError, InputError
from harden.printable_text import markdown, markup
from harden.regression.baseline import compared_in_part, read, require_same
from harden.regression.baseline_records import Check, described
from harden.regression.measure import USUAL_BATCH, CheckSpec, FileMeasurer
from harden.regression.reports.github_actions import SUMMARY, append_summary
from harden.regression.reports.json_and_junit import as_json, as_junit, broken_junit
from harden.regression.reports.verdict_text import as_html, as_markdown, as_text, headline
from harden.regression.timing.measure_speed import SpeedCheck, time_files
from harden.regression.verdict import GOOD, Comparison, Rule, Verdict, judge

_MADE_WITH = ("norm", "eps", "attacks", "steps", "restarts", "test_images", "certify", "seed")
_UNITS = (("pp", 100.0), ("%", 100.0), ("", 1.0))


@final
@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Files that the verdict is written to."""

    junit: Path | None = None
    markdown: Path | None = None
    json: Path | None = None
    html: Path | None = None


@final
@dataclass(frozen=True, slots=True)
class GateOptions:
    """The options of `harden check`.

    Attributes:
        baseline: the file; None to check speed alone.
        rule: margin, alpha and floors.
        inconclusive: "warn" or "fail".
        access: what attacks may use of the file, and a normalisation outside of it.
        batch_size: images at a time.
        label: of the baseline's checks that are compared; empty for those without one.
        bench: the comparison of speed; None for none.
        minutes: the limit of time of all, None for none; what is finished by then is compared, and is no
            PASS.
        made: the options that a baseline would be made with, as they are typed.

    Raises:
        InputError: there is another word for inconclusive, a floor without a baseline, or nothing to check;
            or minutes that are not positive, or with speed.
    """

    baseline: Path | None
    rule: Rule
    inconclusive: str = "warn"
    access: FileAccess = field(default_factory=FileAccess)
    batch_size: int = USUAL_BATCH
    label: str = ""
    bench: SpeedCheck | None = None
    minutes: float | None = None
    made: tuple[str, ...] = ("--norm", "linf", "--eps", "8/255")

    def __post_init__(self) -> None:
        if self.inconclusive not in ("warn", "fail"):
            raise InputError(
                f"--inconclusive {self.inconclusive}", "warn or fail", "write --inconclusive fail"
            )
        if self.baseline is None and (self.bench is None or self.rule.floor or self.label):
            raise InputError(
                "no baseline", "one, for floors and labels are of accuracies", "name it with --baseline"
            )

        minutes_left(self.minutes)
        if self.minutes is not None and self.bench is not None:
            raise InputError(
                "--minutes with --bench", "one of them: rounds of times have a number", "leave --minutes out"
            )

    @property
    def strict(self) -> bool:
        """Whether INCONCLUSIVE is to fail."""
        return self.inconclusive == "fail"


def check(model: str, data: str, gate: GateOptions, files: ReportFiles) -> int:
    """Compare a file with the baseline; an error is written to every file, and raised again."""
    speed = [] if gate.bench is None else ["speed"]
    names = [*([] if gate.baseline is None else [str(gate.baseline)]), *speed]
    try:
        known = [] if gate.baseline is None else _known(model, data, gate, gate.baseline)
        names = [*(each.name for each in known), *speed]
        if gate.bench is not None:
            _ = gate.bench.path  # a missing file is an error before anything is attacked
        verdict, models = _judged(gate_file(model, data, gate.access, gate.batch_size), data, gate, known)
    except Exception as error:  # raised again: a check that crashed is reported in every file
        _write_broken(files, names, error)
        raise
    code = verdict.exit_code(gate.strict)
    say_lines(as_text(verdict))
    _write(files, verdict, gate, {"models": models, "exit_code": code})
    _tell_github(as_markdown(verdict), headline(verdict) if code != GOOD else "")
    return code


def share(option: str, text: str) -> float:
    """Read a share: 2pp, 2% or 0.02.

    Raises:
        InputError: it is none, such as a bare 2.
    """
    unit, scale = next(each for each in _UNITS if text.strip().endswith(each[0]))
    try:
        value = float(text.strip().removesuffix(unit)) / scale
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise InputError(
            f"{option} {text}", "a share of all images, such as 2pp, 2% or 0.02", f"write {option} 2pp"
        )
    return value


def slowdown(text: str) -> float:
    """Read a speed margin: 10% or 0.1.

    Raises:
        InputError: it is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100.0 if number != text.strip() else 1.0)
    except ValueError:
        value = float("nan")
    if not 0.0 < value <= 10.0:
        raise InputError(
            f"--bench-margin {text}",
            "by how much slower is too slow, such as 10% or 0.1",
            "write --bench-margin 10%",
        )
    return value


def typed(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The options by which a file of options makes a baseline, as words; the threat in any case.

    Args:
        settings: of `harden baseline update`, by the parameters of its function.
    """
    chosen: dict[str, Any] = {"norm": "linf", "eps": "8/255"}
    chosen |= {name: settings[name] for name in _MADE_WITH if settings.get(name) not in (None, False)}
    words = [(f"--{name.replace('_', '-')}", value) for name, value in chosen.items()]
    return tuple(word for flag, value in words for word in ([flag] if value is True else [flag, str(value)]))


def _known(model: str, data: str, gate: GateOptions, baseline: Path) -> list[Check]:
    """The baseline's checks of this model."""
    words = ["harden", "baseline", "update", model, "--data", data, *gate.made]
    words += ["--baseline", str(baseline), *(("--label", gate.label) if gate.label else ())]
    words += ["--black-box"] if gate.access.black_box else []
    for option, values in (("--mean", gate.access.mean), ("--std", gate.access.std)):
        words += [] if values is None else [option, ",".join(f"{each:g}" for each in values)]
    make = f"run `{shlex.join(words)}` on the model to keep, and commit it"
    checks = read(baseline, make).checks
    found = [check for _, check in sorted(checks.items()) if check.label == gate.label]
    if not found:
        others = ", ".join(sorted({check.label for check in checks.values()}))
        seen = f"{baseline} without a check{f' labelled {gate.label}' if gate.label else ''}"
        raise BaselineError(f"{seen}{f', but of {others}' if others else ''}", "at least one", make)
    return found


def _judged(
    measurer: FileMeasurer, data: str, gate: GateOptions, known: list[Check]
) -> tuple[Verdict, dict[str, dict[str, Any]]]:
    """Measure every check again; settings are compared before anything is attacked."""
    for check in known:
        require_same(check.name, check.setting, measurer.setting(CheckSpec.of(check)))
    if gate.minutes is not None and (proved := [check.name for check in known if check.setting.certified]):
        raise InputError(
            f"--minutes with proofs, which {', '.join(proved)} has",
            "attacks alone, which can be stopped",
            "leave --minutes out, or make the baseline without --certify",
        )
    with within(gate.minutes):
        if known and gate.minutes is not None:
            measurer.load(gate.minutes)
    comparisons: list[Comparison] = []
    models, seen = {}, set()
    for number, check in enumerate(known):
        left = minutes_left(gate.minutes)
        spec = CheckSpec.of(check)
        now, broken = measure_visibly(measurer, spec, None if left is None else left / (len(known) - number))
        if step := next_step(measurer, data, spec, ["evaluate"]):
            broken = (*broken, str(step))
        # One file's clean answers are the same under every threat: counted once, or Holm pays for each.
        clean = check.setting.data, check.outcomes["clean"].correct
        again = clean in seen
        comparisons += [
            one
            for one in measurer.cautioned(compared_in_part(check, now, broken))
            if not (again and one.measure == "clean")
        ]
        seen.add(clean)
        models[check.name] = {"before": described(check.model), "now": described(now.model)}
    verdict = judge(comparisons, gate.rule) if known else Verdict(gate.rule, ())
    if gate.bench is None:
        return verdict, models
    # Last: an attack is longer than all rounds, and a machine is calmer when nothing else begins.
    with ProgressDisplay() as watch:
        speed = time_files(
            measurer.file, measurer.splits, gate.bench, access=gate.access, on_phase=watch.phase
        )
    return replace(verdict, speed=speed), models


def _write(files: ReportFiles, verdict: Verdict, gate: GateOptions, more: Mapping[str, Any]) -> None:
    if files.junit is not None:
        write_file(files.junit, as_junit(verdict, gate.strict))
    if files.markdown is not None:
        write_file(files.markdown, as_markdown(verdict))
    if files.html is not None:
        write_file(files.html, as_html(verdict))
    write_json(files.json, {"created": _now(), **as_json(verdict), **more})


def _write_broken(files: ReportFiles, names: list[str], error: Exception) -> None:
    """Write the error to all files, so that none of an earlier run is taken for this one's."""
    if isinstance(error, HardenError):
        said = str(error)
    else:
        said = f"harden itself failed: {type(error).__name__}: {error}"
    said = " ".join(said.split())
    text = f"### Robustness gate: no answer\n\n{markdown(said)}\n"
    if files.junit is not None:
        write_file(files.junit, broken_junit(names, said))
    for path in (files.markdown, files.html):
        if path is not None:
            write_file(
                path, text if path is files.markdown else f"<!doctype html>\n<pre>{markup(said)}</pre>\n"
            )
    write_json(files.json, {"created": _now(), "state": "ERROR", "message": said})
    _tell_github(text, said)


def _tell_github(text: str, error: str) -> None:
    append_summary(text)
    if error and (os.environ.get(SUMMARY) or os.environ.get("GITHUB_ACTIONS") == "true"):
        annotate("harden check", error)


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return now.isoformat(timespec="seconds")
