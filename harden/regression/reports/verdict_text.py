"""The verdict in words: lines for a terminal, a table for a summary, a page."""

from __future__ import annotations

import math
from statistics import median

from harden.printable_text import log_line, markdown, markup
from harden.regression.sample_size import POWER
from harden.regression.timing.paired_timing import SpeedFinding
from harden.regression.verdict import Finding, GateAnswer, Verdict, worst

_HEAD = ("check", "verdict", "before", "now", "change", "n")
SUMMARY = {
    GateAnswer.PASS: "no drop of the margin or more",
    GateAnswer.FAIL: "robustness or accuracy has regressed",
    GateAnswer.INCONCLUSIVE: "these images don't decide",
}
SPEED = {
    GateAnswer.PASS: "not slower by the margin or more",
    GateAnswer.FAIL: "slower by more than the margin",
    GateAnswer.INCONCLUSIVE: "these rounds don't decide",
}


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f} pp"


def change(finding: Finding | SpeedFinding) -> str:
    """The difference and its bounds, which are rounded outwards; of times, how much slower in per cent."""
    if isinstance(finding, SpeedFinding):
        least, most = (1000 * (each - 1) for each in finding.interval)
        bounds = f"[{math.floor(least) / 10:+.1f}, {math.ceil(most) / 10:+.1f}]"
        return f"{100 * (finding.timings.ratio - 1):+.1f} % {bounds}"
    low, high = finding.interval
    down, up = math.floor(low * 1000 - 1e-9) / 10, math.ceil(high * 1000 + 1e-9) / 10
    return f"{points(finding.comparison.pairs.difference)} [{down:+.1f}, {up:+.1f}]"


def headline(verdict: Verdict) -> str:
    """The answer in one line."""
    rule, said = verdict.rule, []
    if verdict.findings:
        said.append(
            f"{SUMMARY[worst(verdict.findings)]} "
            f"(margin {100 * rule.margin:g} pp, alpha {100 * rule.alpha:g} %, bounds each one-sided)"
        )
    if verdict.speed:
        one = verdict.speed[0]
        said.append(
            f"{SPEED[worst(verdict.speed)]} "
            f"(margin {100 * one.margin:g} %, intervals at {100 * (1 - one.alpha):g} %)"
        )
    if not verdict.findings:
        said.append("accuracies were not compared")
    return f"{verdict.state}: {'; '.join(said)}"


def explained(finding: Finding | SpeedFinding) -> tuple[str, ...]:
    """Why a comparison is what it is, a sentence each: reasons, what would decide, notes."""
    if isinstance(finding, SpeedFinding):
        return _of_speed(finding)
    lines = list(finding.reasons)
    if finding.outlook is not None:
        seen = finding.outlook
        lines.append(
            f"about n = {seen.needed:,} images would decide at {100 * seen.discordance:.1f} % discordance; "
            f"{_visible(seen.visible, finding.comparison.pairs.n)}"
        )
    return (*lines, *finding.notes)


def _of_speed(finding: SpeedFinding) -> tuple[str, ...]:
    if finding.state is GateAnswer.FAIL:
        return (f"slower by more than {100 * finding.margin:g} % in this job, and not by chance",)
    if finding.state is GateAnswer.INCONCLUSIVE:
        return (
            f"the interval holds the margin of {100 * finding.margin:g} %: more rounds or a quieter machine "
            "would narrow it",
        )
    return ()


def _visible(drop: float, n: int) -> str:
    if drop >= 1.0:
        return f"n = {n:,} sees no drop at all"
    return (
        f"n = {n:,} sees a drop of {100 * drop:.1f} pp with {100 * POWER:.0f} % chance, and smaller ones less"
    )


def as_text(verdict: Verdict) -> str:
    """Lines for a terminal or a log."""
    lines = []
    for finding in verdict.everything:
        name, state, before, now, changed, n = _cells(finding)
        unit = "rounds" if isinstance(finding, SpeedFinding) else "n"
        lines.append(f"{state:12}  {name}: {before} -> {now}, {changed}, {unit} = {n}")
        lines += [f"              {line}" for line in explained(finding)]
    return "\n".join(log_line(line) for line in [*lines, headline(verdict)])


def as_markdown(verdict: Verdict) -> str:
    """A section with a table, for a job's summary or a comment."""
    rows = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for each in verdict.everything:
        name, *numbers = _cells(each)
        rows.append("| " + " | ".join((markdown(name), *numbers)) + " |")
    notes = [
        f"- {markdown(each.name)}: {markdown(line)}"
        for each in verdict.everything
        for line in explained(each)
    ]
    parts = [f"### Robustness gate: {verdict.state}", headline(verdict), "\n".join(rows)]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts) + "\n"


def as_html(verdict: Verdict) -> str:
    """A page without other files."""
    head = "".join(f"<th>{markup(cell)}</th>" for cell in _HEAD)
    rows = "".join(
        f'<tr class="{each.state.lower()}">'
        + "".join(f"<td>{markup(cell)}</td>" for cell in _cells(each))
        + "</tr>\n"
        for each in verdict.everything
    )
    notes = "".join(
        f"<li>{markup(each.name)}: {markup(line)}</li>\n"
        for each in verdict.everything
        for line in explained(each)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>Robustness gate: {verdict.state}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>Robustness gate: {verdict.state}</h1>\n<p>{markup(headline(verdict))}</p>\n"
        f"<table>\n<tr>{head}</tr>\n{rows}</table>\n<ul>\n{notes}</ul>\n</html>\n"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #888;padding:.3em .6em;text-align:left}"
    ".fail td:nth-child(2){background:#fbd5d5}.pass td:nth-child(2){background:#d8f0d8}"
    ".inconclusive td:nth-child(2){background:#fdeecb}"
)


def _cells(finding: Finding | SpeedFinding) -> tuple[str, ...]:
    if isinstance(finding, SpeedFinding):
        timings, twice = finding.timings, 2 * finding.timings.repeats
        times = (f"{1000 * median(each) / twice:.3g} ms" for each in (timings.base, timings.candidate))
        return (finding.name, str(finding.state), *times, change(finding), f"{len(timings.base):,}")
    pairs = finding.comparison.pairs
    shares = (f"{100 * share.value:.1f} %" for share in (pairs.before, pairs.now))
    return (finding.name, str(finding.state), *shares, change(finding), f"{pairs.n:,}")
