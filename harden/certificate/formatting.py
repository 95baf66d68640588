"""Formatting of a certificate's numbers as text; the text summary."""

from __future__ import annotations

import math

from harden.certificate.chance_level import caution_of
from harden.certificate.schema import ComparisonRecord, Predicate, ProportionRecord, Statement
from harden.certificate.unreliable_reasons import NextCommand, next_step, reasons, suite_of
from harden.printable_text import one_line

THIN = "\u202f"
"""A narrow space that does not break: between digits of thousands and before a unit."""


def percent(value: float) -> str:
    """A share in per cent with one decimal."""
    return f"{100 * value:.1f}{THIN}%"


def grouped(value: float) -> str:
    """A count with its thousands set apart."""
    return f"{value:,.0f}".replace(",", THIN)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that apply."""
    if seconds < 60:
        return f"{seconds:.3g}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest}{THIN}s"
    return f"{minutes // 60}{THIN}h {minutes % 60}{THIN}min"


def of_n(proportion: ProportionRecord) -> str:
    """A proportion as count and n."""
    return f"{grouped(proportion.count)} of {grouped(proportion.n)}"


def span(proportion: ProportionRecord) -> str:
    """A proportion's interval in per cent, rounded outwards: never narrower than the one computed."""
    low, high = proportion.interval
    return f"{math.floor(1000 * low) / 10:.1f} to {math.ceil(1000 * high) / 10:.1f}{THIN}%"


def in_full(proportion: ProportionRecord) -> str:
    """A proportion with count, n and interval."""
    confidence = f"{100 * proportion.confidence:g}{THIN}%"
    return f"{percent(proportion.value)} ({of_n(proportion)}; {confidence} interval {span(proportion)})"


def ball(certificate: Statement) -> str:
    """The threat model in words."""
    threat = certificate.predicate.threat
    norm = {"linf": "L-infinity", "l2": "L2", "l1": "L1"}[threat.norm]
    return f"{norm}, eps {threat.eps}"


def next_of(predicate: Predicate) -> NextCommand:
    """The command to run next where a certificate is unreliable, with placeholders for folder and data."""
    suite, threat = suite_of(attack.name for attack in predicate.attacks), predicate.threat
    command = f"harden evaluate FOLDER --data DATA --norm {threat.norm} --eps {threat.eps}"
    return next_step(predicate.checks, suite, command, f"--attacks {suite}" if suite else "")


def summary(statement: Statement, seal: str) -> str:
    """Writes a certificate as text: every number with its n and interval, before and after, the bracket.

    An unreliable certificate gets the checks that fired in place of a headline.
    """
    p = statement.predicate
    lines = [f"Robustness certificate for {p.data.name}, {p.data.split} split, {ball(statement)}"]
    if p.status == "ok":
        proof = f"by proof ({p.bracket.method})" if p.bracket.method else "no proof was attempted at this eps"
        lines += [
            f"  at least  {in_full(p.bracket.certified)}  certified accuracy, {proof}",
            f"  at most   {in_full(p.bracket.robust)}  robust accuracy, by attack",
        ]
        if said := caution_of(p):
            lines.append(f"  WARNING   {said}")
    else:
        lines.append("  UNRELIABLE: a trust check fired, so there is no headline")
        lines += [f"    {line}" for line in reasons(p.checks)]
        lines.append(f"    {next_of(p)}")
    lines += [
        f"  verdicts  {p.verdicts.certified} certified, {p.verdicts.unknown} unknown, "
        f"{p.verdicts.falsified} falsified of {p.data.n}",
        f"  clean     {in_full(p.clean)}",
    ]
    if p.proof is not None:
        lines += [f"  proved    {in_full(one.certified)} at radius {one.eps}" for one in p.proof.points]
        lines.append(f"  compared  with {p.proof.compared.build}, {len(p.proof.compared.sessions)} settings")
    if p.comparison is not None:
        lines += _before(p.comparison)
    lines += [f"  {attack.name}: {in_full(attack.robust)} robust after it" for attack in p.attacks]
    lines.append(f"  seal sha256 {seal} (not a signature)")
    return "\n".join(one_line(line) for line in lines).replace(THIN, " ")


def _before(comparison: ComparisonRecord) -> list[str]:
    return [
        f"  compared with: {comparison.name}",
        f"    clean   {in_full(comparison.clean)}",
        f"    robust  {in_full(comparison.robust) if comparison.status == 'ok' else 'unreliable'}",
    ]
