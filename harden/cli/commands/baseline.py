"""`harden baseline`: write a baseline, print one, compare two."""

from __future__ import annotations

from pathlib import Path

from harden.cli.loading.gate_inputs import measure_visibly, next_step
from harden.cli.output.console import say, say_lines, write_json
from harden.cli.output.unreliable_exit import exit_code
from harden.errors import BaselineError
from harden.regression.baseline import compared, differences, read
from harden.regression.baseline import update as put
from harden.regression.baseline_records import Check, described
from harden.regression.measure import CheckSpec, FileMeasurer
from harden.regression.reports.verdict_text import as_text
from harden.regression.verdict import Comparison, Rule, judge
from harden.statistics import Proportion

_ELSEWHERE = "name a file that `harden baseline update` wrote"


def update(
    measurer: FileMeasurer,
    data: str,
    spec: CheckSpec,
    baseline: Path,
    reason: str | None,
    json_file: Path | None,
) -> int:
    """Measure a file and keep it as the one to compare with; 1 where the number can't be trusted."""
    if baseline.exists():
        read(baseline, "")  # a damaged file is an error before minutes are spent
    check, distrust = measure_visibly(measurer, spec)
    if distrust:
        for line in distrust:
            say(f"unreliable: {line}")
        more = ["--baseline", str(baseline), *(["--certify"] if spec.certify else [])]
        more += ["--label", spec.label] if spec.label else []
        more += ["--accept-regression", reason] if reason else []
        step = next_step(measurer, data, spec, ["baseline", "update"], more)
        command = "" if step is None else step.command
        say(str(step))
        say(f"{baseline} is as it was")
        write_json(json_file, {"status": "unreliable", "reasons": list(distrust), "next": command})
        return exit_code("unreliable")
    written = put(baseline, check, reason).checks[check.name]
    say(f"{check.name}: {_accuracies(written)}; commit {baseline}")
    write_json(json_file, {"status": "ok", **described(written)})
    return exit_code("ok")


def show(baseline: Path) -> int:
    """Print a baseline."""
    checks = read(baseline, _ELSEWHERE).checks
    for name, check in sorted(checks.items()):
        setting = check.setting
        say(
            f"{name}: {_accuracies(check)}; seed {setting.seed}, graph {check.model.graph[:12]}, "
            f"images {setting.data.images[:12]}"
        )
        for step in check.accepted:
            say(f"  accepted: {step.reason}")
    return 0


def diff(old: Path, new: Path, rule: Rule) -> int:
    """Print the differences between two baselines; 1 where the later one has regressed."""
    before, now = (read(path, _ELSEWHERE).checks for path in (old, new))
    comparisons: list[Comparison] = []
    for name in sorted({*before, *now}):
        if name not in before or name not in now:
            say(f"{name}: only in {old if name in before else new}")
        elif differing := differences(before[name].setting, now[name].setting):
            say(f"{name}: not comparable: other {', '.join(differing)}")
        else:
            comparisons += compared(before[name], now[name])
    if not comparisons:
        raise BaselineError(f"{old} and {new}", "a check that both have", "compare baselines of one model")
    verdict = judge(comparisons, rule)
    say_lines(as_text(verdict))
    return verdict.exit_code()


def _accuracies(check: Check) -> str:
    found = {name: outcome.accuracy for name, outcome in check.outcomes.items()}
    return ", ".join(f"{name} {Proportion(each.count, each.n)}" for name, each in sorted(found.items()))
