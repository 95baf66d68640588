"""Threat models as values: a threat owns its norm, random start, step, projection and exact membership."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self, final

import torch
from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.errors import InputError

Number = Fraction | float | int | str
_SIMPLE = 100_000
_LARGEST = Fraction(torch.finfo(torch.float32).max)


class Threat(Protocol):
    """What an adversary may do to an image: a ball of radius eps around it, cut by the box of pixels."""

    @property
    def name(self) -> str:
        """The norm's name, as the command line and the certificate spell it."""
        ...

    @property
    def eps(self) -> Fraction:
        """The perturbation budget in pixel units of [0, 1]."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The box of valid pixels."""
        ...

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation (N, ...) -> (N,), float64."""
        ...

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """A random point of the ball around each x, inside the box."""
        ...

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """Move x_adv along the steepest ascent direction of grad, then back into ball and box, in place."""
        ...

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """Project x_adv onto ball and box around x, in place; idempotent."""
        ...

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether each x_adv lies in ball and box, decided exactly as rational numbers: bool (N,)."""
        ...

    def scaled(self, factor: Number) -> Self:
        """The same threat with eps multiplied by factor."""
        ...


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class Linf:
    """Every pixel may change by at most eps: max_i |x'_i - x_i| <= eps.

    Random start: uniform in the cube. Direction: the gradient's sign. The ball's limits are rounded inwards
    to float32, so that the inequality holds for rational numbers, with no tolerance.

    Args:
        eps: "8/255" or a number; kept as a fraction.
        bounds: the box of valid pixels.

    Raises:
        InputError: eps is not a number, is negative or exceeds the box's width; bounds are not increasing.
    """

    eps: Fraction
    bounds: tuple[float, float]

    def __init__(self, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        object.__setattr__(self, "bounds", check_bounds(bounds))
        object.__setattr__(self, "eps", _radius(eps, self.bounds, dimensions=1))

    def __repr__(self) -> str:
        return _repr(self)

    @property
    def name(self) -> str:
        """The norm's name."""
        return "linf"

    def size(self, delta: Tensor) -> Tensor:
        """max_i |delta_i| of each example: (N, ...) -> (N,), float64."""
        return delta.double().abs().flatten(1).amax(1)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in [x - eps, x + eps], then cut by the box."""
        noise = draws.uniform(tuple(x.shape[1:])).mul_(2.0).sub_(1.0).mul_(_float32(self.eps))
        x_adv = x + noise.to(x.device)
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- box(ball(x_adv + step_size * sign(grad))), in place."""
        kernels.linf_step_(x_adv, x, grad, step_size, _tensor(self.eps, x), *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- box(ball(x_adv)), in place."""
        self.step_(x_adv, x, x, x_adv.new_zeros(1))

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether |x'_i - x_i| <= eps and x'_i lies in the box for all i, as rational numbers: bool (N,)."""
        high, low = _exact_difference(x_adv, x)
        below, exact = _nearest_below(self.eps)
        inside = (high < below) | ((high == below) & (low <= 0))
        if not exact:
            above = math.nextafter(below, math.inf)
            tie = ((high == below) & (low > 0)) | ((high == above) & (low < 0))
            for position in tie.nonzero().tolist():
                gap = Fraction(float(high[tuple(position)])) + Fraction(float(low[tuple(position)]))
                inside[tuple(position)] = gap <= self.eps
        return (inside & _in_box(x_adv, self.bounds)).flatten(1).all(1)

    def scaled(self, factor: Number) -> Linf:
        """The same threat with eps multiplied by factor."""
        return Linf(self.eps * _fraction(factor), self.bounds)


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class L2:
    """The perturbation's Euclidean length is at most eps: sum_i (x'_i - x_i)^2 <= eps^2.

    Random start: uniform in the ball. Direction: the gradient over its length. The projection keeps a
    relative margin of at most 2^-20, so that the inequality holds for rational numbers, with no tolerance.

    Args:
        eps: "1/2" or a number, in pixel units; kept as a fraction.
        bounds: the box of valid pixels.

    Raises:
        InputError: eps is not a number or is negative; bounds are not increasing.
    """

    eps: Fraction
    bounds: tuple[float, float]

    def __init__(self, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        object.__setattr__(self, "bounds", check_bounds(bounds))
        object.__setattr__(self, "eps", _radius(eps, self.bounds, dimensions=None))

    def __repr__(self) -> str:
        return _repr(self)

    @property
    def name(self) -> str:
        """The norm's name."""
        return "l2"

    def size(self, delta: Tensor) -> Tensor:
        """sqrt(sum_i delta_i^2) of each example: (N, ...) -> (N,), float64."""
        return delta.double().flatten(1).square().sum(1).sqrt()

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball of radius eps around x, then cut by the box."""
        shape = tuple(x.shape[1:])
        direction = draws.normal(shape).flatten(1).double()
        radius = draws.fold(1).uniform((1,)).double() ** (1.0 / math.prod(shape))
        direction /= direction.square().sum(1, keepdim=True).sqrt().clamp_min(1e-30)
        x_adv = x + direction.mul_(radius).mul_(float(self.eps)).to(torch.float32).view(x.shape).to(x.device)
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- box(ball(x_adv + step_size * grad / |grad|)), in place."""
        kernels.l2_step_(x_adv, x, grad, step_size, _tensor(self.eps, x), *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- box(ball(x_adv)), in place."""
        self.step_(x_adv, x, x, x_adv.new_zeros(1))

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether sum_i (x'_i - x_i)^2 <= eps^2 and x' lies in the box, as rational numbers: bool (N,)."""
        high, _ = _exact_difference(x_adv, x)
        square = high.flatten(1).square().sum(1)
        limit = float(self.eps) ** 2
        slack = (high[0].numel() + 16 if len(high) else 16) * 2.0**-52
        inside = square * (1 + slack) <= limit
        unsure = ~inside & (square * (1 - slack) <= limit)
        for row in unsure.nonzero().flatten().tolist():
            pairs = zip(x_adv[row].flatten().tolist(), x[row].flatten().tolist(), strict=True)
            inside[row] = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs) <= self.eps**2
        return inside & _in_box(x_adv, self.bounds).flatten(1).all(1)

    def scaled(self, factor: Number) -> L2:
        """The same threat with eps multiplied by factor."""
        return L2(self.eps * _fraction(factor), self.bounds)


def from_name(name: str, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> Linf | L2:
    """Make the threat that the command line and the certificate name by norm and eps.

    Raises:
        InputError: the norm is not one of linf and l2.
    """
    if name == "linf":
        return Linf(eps, bounds)
    if name == "l2":
        return L2(eps, bounds)
    raise InputError(f"norm {name!r}", "linf or l2", "write --norm linf --eps 8/255, for instance")


def check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """Check that a box is finite and increasing, and give it as floats.

    Raises:
        InputError: it is not.
    """
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"bounds {bounds}", "a finite box with low < high", "write bounds=(0.0, 1.0)")
    return low, high


def _fraction(value: Number) -> Fraction:
    """The fraction that a user means: 0.1 is 1/10, not the binary number nearest to it."""
    try:
        if isinstance(value, str | Fraction | int):
            return Fraction(value)
        # 8 / 255 in Python is a float: the simple fraction that it is the nearest float to.
        simple = Fraction(float(value)).limit_denominator(_SIMPLE)
        return simple if float(simple) == float(value) else Fraction(repr(float(value)))
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise InputError(f"eps {value!r}", "a finite number or a fraction", 'write "8/255" or 0.03') from None


def _radius(value: Number, bounds: tuple[float, float], dimensions: int | None) -> Fraction:
    eps, width = _fraction(value), Fraction(bounds[1]) - Fraction(bounds[0])
    wide = dimensions is not None and abs(eps) > width
    guess = _in_units(abs(eps)) if wide else f'write "{abs(eps)}"'
    if eps < 0:
        raise InputError(f"eps {value}", "a budget of 0 or more", guess)
    if eps > _LARGEST:
        raise InputError(f"eps {value}", "a budget that fits in float32", "write it in pixel units of [0, 1]")
    if wide:
        raise InputError(f"eps {value}", f"at most {float(width):g}, the width of the box {bounds}", guess)
    return eps


def _in_units(eps: Fraction) -> str:
    """What was most likely meant by an eps beyond the box: one in steps of 255, or one upside down."""
    steps = eps if eps.denominator == 1 else Fraction(eps.denominator if eps.numerator == 255 else 0)
    return f"did you mean {steps}/255?" if steps in range(1, 256) else "write it in pixel units of [0, 1]"


def _repr(threat: Linf | L2) -> str:
    bounds = "" if threat.bounds == (0.0, 1.0) else f", bounds={threat.bounds}"
    return f'{type(threat).__name__}("{threat.eps}"{bounds})'


def _float32(eps: Fraction) -> float:
    """The largest float32 that is not above eps."""
    value = torch.tensor(float(eps), dtype=torch.float32)
    if Fraction(value.item()) > eps:
        value = torch.nextafter(value, torch.tensor(-math.inf))
    return float(value.item())


def _tensor(eps: Fraction, like: Tensor) -> Tensor:
    return torch.tensor([_float32(eps)], dtype=torch.float32, device=like.device)


def _nearest_below(eps: Fraction) -> tuple[float, bool]:
    """The largest float64 that is not above eps, and whether it equals eps."""
    value = float(eps)
    if Fraction(value) > eps:
        value = math.nextafter(value, -math.inf)
    return value, Fraction(value) == eps


def _exact_difference(x_adv: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """|x' - x| as an unevaluated sum high + low of two float64 (Knuth's two-sum, which is exact)."""
    a, b = x_adv.double(), -x.double()
    total = a + b
    rest = total - a
    error = (a - (total - rest)) + (b - rest)
    negative = total < 0
    return torch.where(negative, -total, total), torch.where(negative, -error, error)


def _in_box(x_adv: Tensor, bounds: tuple[float, float]) -> Tensor:
    # A comparison with NaN is False, so a NaN lies outside.
    return (x_adv.double() >= bounds[0]) & (x_adv.double() <= bounds[1])
