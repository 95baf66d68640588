"""The verdict for programs: JSON and JUnit's XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from harden.description import JSON
from harden.printable_text import one_line
from harden.regression.reports.verdict_text import change, explained, headline
from harden.regression.timing.paired_timing import SpeedFinding
from harden.regression.verdict import Finding, GateAnswer, Verdict

SUITE = "harden check"


def as_json(verdict: Verdict) -> dict[str, JSON]:
    """Everything that was counted and decided; no date, no path, and times only where they were requested."""
    speed: dict[str, JSON] = {"speed": [_speed(each) for each in verdict.speed]} if verdict.speed else {}
    return {
        "state": str(verdict.state),
        "margin": verdict.rule.margin,
        "alpha": verdict.rule.alpha,
        "floor": dict(verdict.rule.floor),
        "comparisons": [_finding(each) for each in verdict.findings],
        **speed,
    }


def _speed(finding: SpeedFinding) -> JSON:
    timings = finding.timings
    return {
        "measure": finding.measure,
        "state": str(finding.state),
        "images": finding.images,
        "rounds": len(timings.base),
        "runs_per_round": 2,
        "repeats_per_run": timings.repeats,
        "seconds_before": list(timings.base),
        "seconds_now": list(timings.candidate),
        "ratio": timings.ratio,
        "interval": list(finding.interval),
        "margin": finding.margin,
        "alpha": finding.alpha,
    }


def _finding(finding: Finding) -> JSON:
    pairs, outlook = finding.comparison.pairs, finding.outlook
    return {
        "check": finding.comparison.check,
        "measure": finding.comparison.measure,
        "state": str(finding.state),
        "n": pairs.n,
        "left": finding.comparison.left,
        "before": pairs.before.value,
        "now": pairs.now.value,
        "gained": pairs.gained,
        "lost": pairs.lost,
        "difference": pairs.difference,
        "interval": list(finding.interval),
        "p_worse": finding.p_worse,
        "level": finding.level,
        "reasons": list(finding.reasons),
        "notes": list(finding.notes),
        "outlook": None
        if outlook is None
        else {
            "needed": outlook.needed,
            "visible": outlook.visible,
            "discordance": outlook.discordance,
        },
    }


def as_junit(verdict: Verdict, inconclusive_fails: bool) -> str:
    """A test case for each comparison: FAIL is a failure, INCONCLUSIVE one or skipped, as requested."""
    findings = verdict.everything
    failed = [each for each in findings if _fails(each, inconclusive_fails)]
    skipped = sum(each.state is GateAnswer.INCONCLUSIVE and each not in failed for each in findings)
    suite = _suite(len(findings), len(failed), 0, skipped)
    for each in findings:
        case = Xml.SubElement(suite, "testcase", classname=SUITE, name=one_line(each.name))
        properties = Xml.SubElement(case, "properties")
        for name, value in _facts(each).items():
            Xml.SubElement(properties, "property", name=f"harden.{name}", value=str(value))
        message = one_line("; ".join((change(each), *explained(each))))
        if each in failed:
            Xml.SubElement(case, "failure", message=message, type=str(each.state)).text = headline(verdict)
        elif each.state is GateAnswer.INCONCLUSIVE:
            Xml.SubElement(case, "skipped", message=f"INCONCLUSIVE: {message}")
    return _written(suite)


def _facts(finding: Finding | SpeedFinding) -> dict[str, object]:
    bounds = {"lower": finding.interval[0], "upper": finding.interval[1]}
    if isinstance(finding, SpeedFinding):
        timings = finding.timings
        return {"state": finding.state, "rounds": len(timings.base), "ratio": timings.ratio, **bounds}
    pairs = finding.comparison.pairs
    return {
        "state": finding.state,
        "n": pairs.n,
        "before": pairs.before.value,
        "now": pairs.now.value,
        "gained": pairs.gained,
        "lost": pairs.lost,
        **bounds,
        "p_worse": finding.p_worse,
    }


def broken_junit(names: Sequence[str], message: str) -> str:
    """JUnit's XML of a check that ended in an error: errors, and never a pass."""
    suite = _suite(len(names), 0, len(names), 0)
    for name in names:
        case = Xml.SubElement(suite, "testcase", classname=SUITE, name=one_line(name))
        Xml.SubElement(case, "error", message=one_line(message), type="error")
    return _written(suite)


def _fails(finding: Finding | SpeedFinding, inconclusive_fails: bool) -> bool:
    return finding.state is GateAnswer.FAIL or (
        inconclusive_fails and finding.state is GateAnswer.INCONCLUSIVE
    )


def _suite(tests: int, failures: int, errors: int, skipped: int) -> Xml.Element:
    counts = {"tests": tests, "failures": failures, "errors": errors, "skipped": skipped}
    return Xml.Element("testsuite", {"name": SUITE, **{key: str(count) for key, count in counts.items()}})


def _written(suite: Xml.Element) -> str:
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"
