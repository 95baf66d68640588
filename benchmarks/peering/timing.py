"""Interleaved timing: every contender once a round, in another order each round, ratios within a round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

Work = Callable[[], object]
Clock = Callable[[Work], float]


@final
@dataclass(frozen=True, slots=True)
class Times:
    """Seconds by contender, one for each round; index i of all is the same round.

    Args:
        seconds: by the clock that was asked for.
        processor: of this process's processor time, all its threads: what others do on the machine is not in
            it, and on a CUDA device neither is most of the work.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)

    @property
    def of_processor(self) -> Times:
        """The same rounds by processor time."""
        return Times(self.processor, self.processor)

    def ratio(self, name: str, other: str) -> dict[str, float]:
        """The time of one over that of another, round by round: median, quartiles, extremes.

        What slows the machine down in a round slows both, so the ratio of a round is steadier than that of
        two medians.
        """
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        return spread([one / two for one, two in pairs])

    def of_fastest(self, name: str, other: str) -> float:
        """The fastest time of one over the fastest of another: what is left where others took the least."""
        return round(min(self.seconds[name]) / min(self.seconds[other]), 6)

    def summary(self) -> dict[str, dict[str, float]]:
        """Seconds of every contender."""
        return {name: spread(values) for name, values in self.seconds.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Median, quartiles, smallest and largest."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    found = {
        "median": statistics.median(values),
        "q1": low,
        "q3": high,
        "min": min(values),
        "max": max(values),
    }
    return {name: round(value, 6) for name, value in found.items()}


def wall(work: Work) -> float:
    """Seconds on the clock: what a user waits."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(contenders: Mapping[str, Work], rounds: int, clock: Clock = wall) -> Times:
    """Run all contenders once untimed, then once a round; the order is shuffled, always in the same way."""
    for work in contenders.values():
        work()
    order, chance = list(contenders), random.Random(0)
    times = Times({name: [] for name in contenders}, {name: [] for name in contenders})
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            start = time.process_time()
            times.seconds[name].append(clock(contenders[name]))
            times.processor[name].append(time.process_time() - start)
    return times
