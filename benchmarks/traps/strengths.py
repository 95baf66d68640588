"""The magnitudes of a trap: factors whose product is 1 in real numbers and is not in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from benchmarks.traps.net import Net, f32


@final
@dataclass(frozen=True, slots=True)
class Strength:
    """Factors and a shift that cancel in real numbers: pre * a * b * post = 1.

    Args:
        name: of the magnitude.
        pre: multiplies the value before the pattern.
        a: the weight of the pattern's first operation.
        b: the factor of its second operation, which a runtime may fold into the first.
        post: multiplies what comes out.
        shift: added after a, and taken off (times b) after b.
        saturated: the value is 1 - 2 t and what comes out is clipped to [0, 1], so that a folded weight that
            is infinite answers as the graph does everywhere but near the corner.
    """

    name: str
    pre: float = 1.0
    a: float = 1.0
    b: float = 1.0
    post: float = 1.0
    shift: float = 0.0
    saturated: bool = False

    @property
    def benign(self) -> bool:
        """Whether nothing is strained: a control."""
        return self.name == "one"


ONE: Final = Strength("one", a=2.0, b=0.5)
# a b = 1.5 * 2^-149 rounds to 2^-148.
_DENORMAL: Final = Strength("denormal", 2.0**70, 1.5 * 2.0**-75, 2.0**-74, 2.0**79 / 1.5)
_TINY: Final = Strength("tiny", 2.0**100, 2.0**-100, 2.0**-100, 2.0**100)
_HUGE: Final = Strength("huge", 2.0**-100, 2.0**100, 2.0**100, 2.0**-100, saturated=True)
FOLDED: Final = (
    _DENORMAL,
    _TINY,
    # Half of the smallest denormal is 0, and twice 2^127 is infinite.
    Strength("edge", 2.0**100, 2.0**-100, 2.0**-50, 2.0**50),
    Strength("over", 2.0**-64, 2.0**127, 2.0**2, 2.0**-65, saturated=True),
    _HUGE,
)
"""Each step of the graph is in range, and the folded weight a b is not."""
VALUES: Final = (
    _DENORMAL,
    _TINY,
    Strength("rounding", shift=2.0**25),
    _HUGE,
    # 2^127 / 2 + 1.9 * 2^127 is infinite: at the corner alone.
    Strength("extreme", a=2.0**127, b=2.0**-126, post=0.5, shift=1.9 * 2.0**127),
)
"""The value itself leaves the range, or the sum with the shift rounds it away."""
NORMS: Final = (Strength("below"), *VALUES[1:])
"""The same without a mere change of scale, which a normalisation takes back."""


def strained(net: Net, value: str, strength: Strength) -> str:
    """Bring a value t >= 0 to where float32 loses it: it underflows, overflows or is rounded away."""
    match strength.name:
        case "denormal":
            return net.scaled(value, 2.0**-100, 1.5 * 2.0**-49)
        case "below":
            return net.scaled(value, 2.0**-100, 2.0**-50)
        case "tiny":
            return net.scaled(value, 2.0**-100, 2.0**-100)
        case "huge":
            return net.scaled(value, 2.0**100, 2.0**100)
        case "rounding" | "extreme":
            return net.add("Add", net.scaled(value, strength.a), f32(strength.shift))
    return value


def relieved(net: Net, value: str, strength: Strength) -> str:
    """Undo `strained`, as real numbers would."""
    match strength.name:
        case "denormal":
            return net.scaled(value, 2.0**100, 2.0**49 / 1.5)
        case "below":
            return net.scaled(value, 2.0**100, 2.0**50)
        case "tiny":
            return net.scaled(value, 2.0**100, 2.0**100)
        case "huge":
            return net.scaled(value, 2.0**-100, 2.0**-100)
        case "rounding" | "extreme":
            return net.scaled(net.add("Sub", value, f32(strength.shift)), strength.b, strength.post)
    return value


def finished(net: Net, value: str, strength: Strength) -> str:
    """Take the shift off and scale back, after a pattern that has multiplied by a and by b."""
    if strength.shift:
        value = net.add("Sub", value, f32(strength.shift * strength.b))
    return net.scaled(value, strength.post)
