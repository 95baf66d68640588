"""Two models timed in one job, in alternation: the ratio of their times, with an exact interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from scipy import special

from harden.errors import InputError
from harden.regression.gate_answers import GateAnswer

Work = Callable[[], object]
Clock = Callable[[], float]
OnRound = Callable[[int], None]

_LONGEST = 1 << 16  # repeats of a work; a clock that does not move would double them for ever


@final
@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of both models, one figure a round; index i of both is the same round.

    Args:
        base: of the model to compare with, its two runs in the round together.
        candidate: of the model that is checked, likewise.
        repeats: how often a run does the work.

    Raises:
        InputError: there is no round, their numbers differ, or a time is not positive.
    """

    base: tuple[float, ...]
    candidate: tuple[float, ...]
    repeats: int = 1

    def __post_init__(self) -> None:
        if not self.base or len(self.base) != len(self.candidate):
            raise InputError(
                f"{len(self.base)} times of the base and {len(self.candidate)} of the candidate",
                "one of each in every round",
                "time both in the same rounds",
            )
        if not all(0.0 < seconds < math.inf for seconds in (*self.base, *self.candidate)):
            raise InputError(
                "a time that is not positive", "seconds above 0", "use a clock that is finer than the work"
            )

    @property
    def ratios(self) -> tuple[float, ...]:
        """Candidate over base, round by round, in rising order."""
        return tuple(sorted(now / before for before, now in zip(self.base, self.candidate, strict=True)))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return math.exp(statistics.median(map(math.log, self.ratios)))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Give the order-statistics interval of the median ratio, the inverse of the sign test.

        With r_(1) <= ... <= r_(n) the sorted log-ratios of n rounds it is exp of [r_(k), r_(n+1-k)], k the
        largest rank for which P(Bin(n, 1/2) < k) <= alpha / 2. Guarantee: whatever the distribution, it holds
        the median with a chance of 1 - alpha at least, and misses it on either side with alpha / 2 at most,
        provided that rounds are independent and share a median. Source: Thompson 1936, Annals of Mathematical
        Statistics 7; David & Nagaraja, Order Statistics, 2003, section 7.1.

        Raises:
            InputError: there are too few rounds for any such interval.
        """
        check_rounds(len(self.base), alpha)
        ratios, k = self.ratios, rank(len(self.base), alpha)
        return ratios[k - 1], ratios[-k]


@final
@dataclass(frozen=True, slots=True)
class SpeedFinding:
    """The verdict on one kind of work.

    Attributes:
        measure: "inference" or "attack".
        images: how many one piece of work is done on.
        timings: what was measured.
        margin: by how much slower is too slow, 0.1 for ten per cent.
        alpha: one less the level of the interval.
    """

    measure: str
    images: int
    timings: Timings
    margin: float
    alpha: float

    @property
    def name(self) -> str:
        """What was timed, in words."""
        return f"speed: {self.measure} time"

    @property
    def interval(self) -> tuple[float, float]:
        """Of the ratio of the times."""
        return self.timings.interval(self.alpha)

    @property
    def state(self) -> GateAnswer:
        """PASS where the whole interval is below 1 + margin, FAIL where all of it is above."""
        low, high = self.interval
        if high < 1.0 + self.margin:
            return GateAnswer.PASS
        return GateAnswer.FAIL if low > 1.0 + self.margin else GateAnswer.INCONCLUSIVE


def rank(rounds: int, alpha: float) -> int:
    """Give the largest k for which P(Bin(rounds, 1/2) < k) <= alpha / 2; 0 where there is none."""
    k = 0
    while k < rounds and float(special.bdtr(k, rounds, 0.5)) <= alpha / 2:
        k += 1
    return k


def check_rounds(rounds: int, alpha: float) -> None:
    """Refuse so few rounds that no interval has the level.

    Raises:
        InputError: with how many it takes.
    """
    if rounds < 1 or rank(rounds, alpha) < 1:
        least = math.ceil(1 - math.log2(alpha))
        raise InputError(
            f"{rounds} rounds", f"at least {least} at alpha = {alpha:g}", f"write --bench-rounds {least}"
        )


def repeats_for(works: Sequence[Work], clock: Clock, least: float) -> int:
    """Find how often works have to be done to take so many seconds together; 1, 2, 4, ...

    Together: a candidate that is much slower than its base is not repeated as often as the base alone needs.
    The first calls are not counted: they warm up caches.
    """
    for work in works:
        work()
    repeats = 1
    while repeats < _LONGEST and sum(_seconds(work, clock, repeats) for work in works) < least:
        repeats *= 2
    return repeats


def alternated(
    base: Work,
    candidate: Work,
    rounds: int,
    clock: Clock,
    repeats: int = 1,
    on_round: OnRound | None = None,
) -> Timings:
    """Time two works in rounds of base, candidate, candidate, base.

    What slows the machine down steadily through a round adds the same to both sums, and each work follows
    itself as often as the other. Both run once before, untimed.

    Args:
        base: the work to compare with.
        candidate: the one that is checked.
        rounds: how many.
        clock: seconds since some moment.
        repeats: how often each run does its work, for both the same.
        on_round: called with the number of finished rounds.
    """
    base()
    candidate()
    before, now = [], []
    for done in range(1, rounds + 1):
        first = _seconds(base, clock, repeats)
        now.append(_seconds(candidate, clock, repeats) + _seconds(candidate, clock, repeats))
        before.append(first + _seconds(base, clock, repeats))
        if on_round is not None:
            on_round(done)
    return Timings(tuple(before), tuple(now), repeats)


def _seconds(work: Work, clock: Clock, repeats: int) -> float:
    start = clock()
    for _ in range(repeats):
        work()
    return clock() - start
