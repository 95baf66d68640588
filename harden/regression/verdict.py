"""PASS, FAIL or INCONCLUSIVE: one object that decides the text, the files and the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from harden.errors import InputError
from harden.regression.gate_answers import GOOD as GOOD
from harden.regression.gate_answers import REGRESSED, UNDECIDED
from harden.regression.gate_answers import GateAnswer as GateAnswer
from harden.regression.paired_comparison import Pairs
from harden.regression.sample_size import Outlook, outlook
from harden.regression.timing.paired_timing import SpeedFinding
from harden.statistics import Proportion


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """When a drop is too large, and how sure one has to be.

    Args:
        margin: the drop of accuracy that has to be excluded for PASS, in (0, 1).
        alpha: the chance of a false FAIL over all checks together, and of a false PASS for each; in
            (0, 0.5].
        floor: the least accuracy, by comparison name ("robust", "clean", "certified"): what was measured, not
            a bound.

    Raises:
        InputError: a number is outside its range, or a floor has another name.
    """

    margin: float = 0.02
    alpha: float = 0.05
    floor: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.margin < 1.0:
            raise InputError(f"a margin of {self.margin}", "a drop in (0, 1)", "write 0.02 for two points")
        if not 0.0 < self.alpha <= 0.5:
            raise InputError(
                f"alpha = {self.alpha}", "a number above 0 and at most 0.5", "write 0.05 for 5 %"
            )
        for name, least in self.floor:
            if name not in MEASURES or not 0.0 <= least <= 1.0:
                raise InputError(
                    f"a floor of {least} for {name!r}",
                    f"a share in [0, 1] for {', '.join(MEASURES)}",
                    "write ('robust', 0.4)",
                )


MEASURES = ("robust", "clean", "certified")


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """One accuracy before and now, on the same images.

    Attributes:
        check: name of the check: threat and attacks.
        measure: "robust", "clean" or "certified".
        pairs: what was counted.
        broken: what else is wrong, each in a sentence; any makes the comparison FAIL.
        remarks: what should be known and decides nothing.
        left: how many images time did not suffice for; the pairs are of the first ones then.
        guessing: why the model now is no better than guessing, in words; it is no PASS then. Empty elsewhere.
    """

    check: str
    measure: str
    pairs: Pairs
    broken: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    left: int = 0
    guessing: str = ""

    @property
    def name(self) -> str:
        """Check and measure in one."""
        return f"{self.check}: {self.measure} accuracy"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one comparison.

    Attributes:
        comparison: what was compared.
        rule: what it was judged by.
        state: the answer.
        interval: lower and upper one-sided bounds of the difference, each at level 1 - alpha.
        p_worse: exact one-sided p-value of McNemar's test for a drop.
        level: what it was held against, alpha after Holm's correction.
        reasons: why it is FAIL, in sentences; empty otherwise.
        notes: what decides nothing.
    """

    comparison: Comparison
    rule: Rule
    state: GateAnswer
    interval: tuple[float, float]
    p_worse: float
    level: float
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What was compared, in words."""
        return self.comparison.name

    @property
    def outlook(self) -> Outlook | None:
        """The number of images that would decide, where there are too few; computed on request."""
        if self.state is not GateAnswer.INCONCLUSIVE or self.comparison.left or self.comparison.guessing:
            return None
        return outlook(self.comparison.pairs, self.rule.margin, self.rule.alpha, self.level)


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a model: the worst of its findings.

    Attributes:
        rule: margin, alpha and floors of the accuracies.
        findings: on accuracies; none where speed alone was checked.
        speed: on times; none where they were not requested.
    """

    rule: Rule
    findings: tuple[Finding, ...]
    speed: tuple[SpeedFinding, ...] = ()

    @property
    def state(self) -> GateAnswer:
        """FAIL where any comparison fails, else INCONCLUSIVE where any is, else PASS."""
        return worst(self.everything)

    @property
    def everything(self) -> tuple[Finding | SpeedFinding, ...]:
        """All findings, those on times last."""
        return (*self.findings, *self.speed)

    def exit_code(self, inconclusive_fails: bool = False) -> int:
        """Give 0, 1 for FAIL, and for INCONCLUSIVE 3 where that is to fail."""
        if self.state is GateAnswer.FAIL:
            return REGRESSED
        return UNDECIDED if self.state is GateAnswer.INCONCLUSIVE and inconclusive_fails else GOOD


def worst(findings: Sequence[Finding | SpeedFinding]) -> GateAnswer:
    """Give FAIL where any fails, else INCONCLUSIVE where any is, else PASS.

    Raises:
        InputError: there is none: nothing measured is no pass.
    """
    states = {finding.state for finding in findings}
    if not states:
        raise InputError("no finding", "at least one", "compare something")
    return next(
        (each for each in (GateAnswer.FAIL, GateAnswer.INCONCLUSIVE) if each in states), GateAnswer.PASS
    )


def judge(comparisons: Sequence[Comparison], rule: Rule) -> Verdict:
    """Decide over all comparisons together.

    PASS: the lower bound of the difference is above -margin; a drop that is significant all the same is
    noted. FAIL: McNemar's exact p-value is below its level and the upper bound below 0, or a floor or a
    check is broken. INCONCLUSIVE: neither; and in place of PASS where time did not suffice for all images,
    since the first ones need not be like the rest, and where the model now is no better than guessing. The
    levels are Holm's (1979), so that a false FAIL anywhere has a chance of alpha at most. PASS needs no
    correction: the model passes only where every comparison does, so a drop of the margin in one of them lets
    it through with a chance of alpha at most.

    Raises:
        InputError: there is nothing to compare, a name is repeated, or a floor is for a measure that nothing
            is compared by.
    """
    names = [comparison.name for comparison in comparisons]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"{len(names)} comparisons named {', '.join(sorted(set(names))) or 'nothing'}",
            "at least one, each with a name of its own",
            "compare a measure of a check once",
        )
    measured = {comparison.measure for comparison in comparisons}
    if unmet := [name for name, _ in rule.floor if name not in measured]:
        # Held against nothing it would seem to be met.
        raise InputError(
            f"a floor for {' and '.join(unmet)} accuracy, which the baseline does not have",
            f"one for {' or '.join(name for name in MEASURES if name in measured)} accuracy",
            "leave it out, or make the baseline with --certify",
        )
    p_values = [comparison.pairs.p_worse for comparison in comparisons]
    decided = zip(comparisons, p_values, holm(p_values, rule.alpha), strict=True)
    return Verdict(rule, tuple(_finding(one, p, level, rule) for one, p, level in decided))


def holm(p_values: Sequence[float], alpha: float) -> list[float]:
    """Give each p-value the level that it has to be below: Holm's step-down procedure.

    The i-th smallest of k (from 0) is held against alpha / (k - i), and once one is not below its level all
    later ones are held against that same level, which they can't be below.
    """
    levels = [0.0] * len(p_values)
    stopped: float | None = None
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        level = alpha / (len(p_values) - rank) if stopped is None else stopped
        levels[place] = level
        if stopped is None and not p_values[place] < level:
            stopped = level
    return levels


def _finding(comparison: Comparison, p: float, level: float, rule: Rule) -> Finding:
    pairs = comparison.pairs
    interval = pairs.lower(rule.alpha), pairs.upper(rule.alpha)
    dropped = p < level and interval[1] < 0
    passed = interval[0] > -rule.margin
    reasons = (*comparison.broken, *_below_floor(comparison, rule))
    notes = comparison.remarks
    if passed and dropped:
        notes = (*notes, f"a small drop is significant (p = {p:.2g}), and less than the margin")
    elif dropped:
        reasons = (f"a significant drop (p = {p:.2g}, level {level:.2g})", *reasons)
    if comparison.left:
        whole = pairs.n + comparison.left
        said = f"time was up: all numbers are of the first {pairs.n:,} of {whole:,} images, which is no PASS"
        notes, passed = (*notes, said), False
    if comparison.guessing:
        said = f"{comparison.guessing}; that is no PASS" if passed else comparison.guessing
        notes, passed = (*notes, said), False
    state = GateAnswer.FAIL if reasons else GateAnswer.PASS if passed else GateAnswer.INCONCLUSIVE
    return Finding(comparison, rule, state, interval, p, level, reasons, notes)


def _below_floor(comparison: Comparison, rule: Rule) -> tuple[str, ...]:
    now: Proportion = comparison.pairs.now
    return tuple(
        f"{name} accuracy {100 * now.value:.2f} % is below the floor of {100 * least:g} %"
        for name, least in rule.floor
        if name == comparison.measure and now.value < least
    )
