"""The grid: which defence with which shortcut over which network at which eps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

BASES = ("squares", "noise", "plain", "adversarial")
HIDDEN = ("one-hot, hidden", "clamped widely, hidden", "clamped at 5, hidden", "one-hot, wrapped")
HARD = (
    "one-hot",
    "two levels",
    "quantised",
    "rounded probabilities",
    "two likeliest",
    "saturated",
    "clamped",
    "clamped widely",
    "clamped at 5",
    "ranks",
    "vote",
)
OTHERS = (
    "hot",
    "detached",
    "reversed gradient",
    "NaN gradient",
    "staircase",
    "winners",
    "bit depth",
    "bit depth, straight through",
    "cosine transform",
    "cosine transform, straight through",
    "hashed noise",
    "median",
    "median, one-hot",
    "hashed noise, one-hot",
    "bit depth, one-hot",
)
SHORTCUTS = (
    "linear",
    "negated",
    "random",
    "network",
    "reversed",
    "sawtooth",
    "sine",
    "decoy",
    "strong decoy",
    "hashed negated",
    "hashed strong decoy",
    "zero",
    "none",
)
EPS = {"linf": (0.12, 0.2), "l2": (0.8, 1.2)}


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """One defended network and one threat."""

    defence: str
    shortcut: str
    base: str
    norm: str
    eps: float

    @property
    def name(self) -> str:
        """All of it, on one line."""
        return f"{self.defence} + {self.shortcut} over {self.base}, {self.norm} {self.eps:g}"

    @property
    def trained_for(self) -> float:
        """The eps in L-inf that the base was trained for."""
        return self.eps if self.norm == "linf" else EPS["linf"][EPS["l2"].index(self.eps)]


SEEN = Setting("one-hot", "linear", "squares", "linf", 0.12)
"""What `standard` once called robust: 96.5 % on MNIST, where transfer from the network inside left 36 %."""


def grid() -> tuple[Setting, ...]:
    """All settings, the same in each call and none twice; the one that was seen is the first.

    First come a wrong gradient that is weak, one that is none along lines between images, and one that
    changes sign often, each also with the network inside hidden. Then one-hot logits with every shortcut over
    the base that blinds Square; the other defences with a wrong shortcut; useful logits with a gradient that
    is shattered; the rest by turns over bases, eps and norms.
    """
    low, high = EPS["linf"]
    found = [SEEN]
    for defence, name in itertools.product(
        (HARD[0], "clamped widely", *HIDDEN), ("negated", "decoy", "sine")
    ):
        found.append(Setting(defence, name, "squares", "linf", low))
    found += [Setting("one-hot", name, "squares", "linf", low) for name in SHORTCUTS]
    rounds = (
        [(defence, "negated") for defence in (*HARD[1:], *OTHERS)],
        [("none", "sawtooth"), ("none", "sine"), ("none", "strong decoy")],
        [(defence, name) for defence, name in zip(HARD[1:], itertools.cycle(SHORTCUTS[3:]), strict=False)],
        [(defence, "sawtooth") for defence in (*HARD[1:], *OTHERS)],
        [(defence, "linear") for defence in HARD[1:]],
    )
    bases = itertools.cycle(("squares", "squares", "noise", "squares", "adversarial", "squares", "plain"))
    found += [Setting(*pair, next(bases), "linf", low) for pair in itertools.chain(*rounds[:3])]
    found += [Setting("one-hot", "negated", base, "linf", low) for base in BASES]
    found += [Setting("one-hot", name, "squares", "l2", EPS["l2"][0]) for name in SHORTCUTS[:3]]
    found += [Setting("one-hot", name, "squares", "linf", high) for name in ("linear", "negated", "reversed")]
    found += [Setting(*pair, next(bases), "linf", high) for pair in itertools.chain(*rounds[3:])]
    found += [Setting(defence, "none", next(bases), "linf", low) for defence in (*HARD[1:], *OTHERS)]
    found += [
        Setting(defence, "negated", "squares", "l2", EPS["l2"][1]) for defence in (*HARD[1:], *OTHERS[1:5])
    ]
    return tuple(dict.fromkeys(found))
