"""Budgets and boxes as written: the fraction that was meant, and refusals that name the likely one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.threats import L1, L2, Linf, Number

pytestmark = pytest.mark.usefixtures("rng_untouched")


Kind = type[Linf] | type[L2] | type[L1]


KINDS = pytest.mark.parametrize("kind", [Linf, L2, L1])


@KINDS
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8/255", Fraction(8, 255)),
        (" 8/255 ", Fraction(8, 255)),
        ("0.1", Fraction(1, 10)),
        (0.1, Fraction(1, 10)),
        (0.3, Fraction(3, 10)),
        (1e-3, Fraction(1, 1000)),
        (np.float64(0.1), Fraction(1, 10)),
        (Fraction(1, 3), Fraction(1, 3)),
        (0, Fraction(0)),
        (1, Fraction(1)),
        ("1e-2", Fraction(1, 100)),
    ],
)
def test_eps_is_the_fraction_that_was_meant(kind: Kind, written: Number, meant: Fraction) -> None:
    assert kind(written).eps == meant
    assert kind(written) == kind(meant)
    assert hash(kind(written)) == hash(kind(meant))


@KINDS
@pytest.mark.parametrize("bad", ["eight", "8/0", "", "8//255", math.nan, math.inf, "nan", "inf", None, [8]])
def test_what_is_no_number_is_no_eps(kind: Kind, bad: Number) -> None:
    with pytest.raises(InputError) as caught:
        kind(bad)
    assert caught.value.seen == f"eps {bad!r}"
    assert caught.value.instead == 'write "8/255" or 0.03'


@pytest.mark.parametrize("eight", [8, "8", 8.0])
def test_eps_in_steps_of_255_is_recognised(eight: Number) -> None:
    with pytest.raises(InputError) as caught:
        Linf(eight)
    assert caught.value.seen == f"eps {eight}"
    assert caught.value.expected == "at most 1, the width of the box (0.0, 1.0)"
    assert caught.value.instead == "did you mean 8/255?"


def test_eps_beyond_the_box_is_refused_for_linf_alone() -> None:
    with pytest.raises(InputError, match="write it in pixel units of"):
        Linf("3/2")
    assert Linf("3/2", (-1.0, 1.0)).eps == Fraction(3, 2)
    assert Linf(1).eps == 1
    assert L2(8).eps == L1(8).eps == 8


@KINDS
def test_a_negative_eps_is_refused(kind: Kind) -> None:
    with pytest.raises(InputError) as caught:
        kind("-8/255")
    assert (caught.value.seen, caught.value.instead) == ("eps -8/255", 'write "8/255"')


@pytest.mark.parametrize("eps", ["1e39", "1e200", "1e400", 1e300])
def test_an_eps_beyond_float32_is_refused_when_written(eps: Number) -> None:
    for kind in (L2, L1):
        with pytest.raises(InputError, match="float32"):
            kind(eps)


@KINDS
@pytest.mark.parametrize(
    "bounds",
    [
        (1.0, 0.0),
        (0.0, 0.0),
        (0.0, math.nan),
        (math.nan, 1.0),
        (-math.inf, 1.0),
        (0.0,),
        (0.0, 1.0, 2.0),
        ("a", 1),
    ],
)
def test_a_box_that_is_none_is_refused(kind: Kind, bounds: tuple[float, float]) -> None:
    with pytest.raises(InputError) as caught:
        kind("8/255", bounds)
    assert caught.value.seen == f"bounds {bounds}"
    assert caught.value.instead == "write bounds=(0.0, 1.0)"


def test_a_repr_reads_as_it_is_written() -> None:
    assert repr(Linf("8/255")) == 'Linf("8/255")'
    assert repr(L2(0.5, (-1, 1))) == 'L2("1/2", bounds=(-1.0, 1.0))'


@pytest.mark.parametrize(
    ("value", "fraction"),
    [
        (8 / 255, "8/255"),
        (3 / 255, "1/85"),
        (1 / 300, "1/300"),
        (0.1, "1/10"),
        (0.031, "31/1000"),
        (0.5, "1/2"),
    ],
)
def test_a_python_float_is_the_simple_fraction_that_it_stands_for(value: float, fraction: str) -> None:
    assert Linf(value) == Linf(fraction)
    assert float(Linf(value).eps) == value


def test_a_float_that_no_simple_fraction_gives_is_kept_to_the_last_digit() -> None:
    value = 0.012345678901234567
    assert float(Linf(value).eps) == value


@KINDS
def test_the_budget_is_put_on_the_device_once_and_is_an_ordinary_tensor(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy to the device at every step could not be captured in a CUDA graph."""
    seen: list[Tensor] = []
    name = f"{kind.__name__.lower()}_step_"
    monkeypatch.setattr(kernels, name, lambda *arguments: seen.append(arguments[4]))
    x = torch.zeros(1, 2)
    with torch.inference_mode():
        kind("1/977").step_(x, x, x, torch.ones(1))
    kind("1/977").step_(x, x, x, torch.ones(1))
    kind("1/976").step_(x, x, x, torch.ones(1))
    assert seen[0] is seen[1]
    assert not seen[0].is_inference()
    assert Fraction(1, 978) < Fraction(seen[0].item()) <= Fraction(1, 977) < Fraction(seen[2].item())
