"""Checkpoints of Auto-PGD's step-size schedule (Croce & Hein, 2003.01690, section 3.2)."""

from __future__ import annotations

FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06
"""The first period, by how much each is shorter than the last, and the shortest: shares of all steps."""


def periods(steps: int) -> tuple[int, ...]:
    """Give how many steps lie between the checkpoints: w_j = p_j - p_{j-1}.

    What is left over follows the last. p_1 = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), of all
    steps, each cut down to whole steps and to one step at least.
    """
    length, shorter, shortest = (max(int(share * steps), 1) for share in (FIRST, SHORTER, SHORTEST))
    found: list[int] = []
    while sum(found) + length <= steps:
        found.append(length)
        length = max(length - shorter, shortest)
    return tuple(found)
