"""benchmarks/rewrite_traps.py: the traps are what they say, and harden proves none of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import rewrite_traps
from benchmarks.traps import runtime, verdicts
from benchmarks.traps.catalogue import KINDS
from benchmarks.traps.frame import Kind, made
from benchmarks.traps.strengths import ONE

FOLDED = (
    "conv_mul", "conv_bn", "conv_dropout_bn", "matmul_bn", "matmul_scale_both", "matmul_scale_chain",
    "conv_add", "gemm_sum_over", "matmul_sum_over", "pad_max_pool", "pad_identity_max_pool",
    "pad_average_pool_ceil",
)  # fmt: skip
"""Right with optimisation disabled, wrong with default settings."""
UNFOLDED = (
    "conv_same_upper_1", "gemm_alpha", "gemm_beta", "average_pool_sum", "global_average_sum",
    "reduce_mean_dropped", "reduce_mean_all", "cancelled_order", "conv_relu", "blocked_average_pool",
)  # fmt: skip
"""Wrong at every level."""
SAMPLE = (*FOLDED, *UNFOLDED)


def named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def test_there_are_enough_kinds_and_five_magnitudes_of_each() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 40
    for kind in KINDS:
        assert len({strength.name for strength in kind.strengths}) == len(kind.strengths) == 5
    assert {kind.group for kind in KINDS} == {"basic", "extended", "layout", "arithmetic"}


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("at", [1, 4])
def test_the_runtime_breaks_at_the_known_point(name: str, at: int) -> None:
    kind = named(name)
    trap = made(kind, kind.strengths[at])
    content = trap.model.SerializeToString()
    answers = runtime.answers(content, trap.point)
    assert runtime.broken(answers["default"])
    assert all(runtime.broken(answers[f"all/{threads}"]) for threads in (1, 2))
    assert runtime.broken(answers["disabled/1"]) is (name in UNFOLDED)
    assert runtime.fired(kind, runtime.operators(content))


@pytest.mark.parametrize("name", SAMPLE)
def test_the_runtime_keeps_the_answer_of_the_control(name: str) -> None:
    control = made(named(name), ONE, "benign")
    assert runtime.robust(control.model.SerializeToString(), control.point, 40)


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("at", [1, 4])
def test_no_trap_is_proved(name: str, at: int) -> None:
    kind = named(name)
    line = rewrite_traps.measured(
        kind, kind.strengths[at], "trap", rewrite_traps.CommandOptions(images=False)
    )
    assert line["broken"]
    assert not line["proved"], line["verdicts"]
    assert not line["traceback"], line["why"]


@pytest.mark.parametrize("name", ["conv_mul", "pad_max_pool", "matmul_scale_chain"])
def test_no_property_is_unsat(name: str) -> None:
    kind = named(name)
    found = verdicts.of_property(made(kind, kind.strengths[1]), 0.05)
    assert found.said in ("unknown", "sat", "refused"), found.why


@pytest.mark.parametrize("name", ["conv_mul", "pad_max_pool"])
def test_no_image_is_certified(name: str) -> None:
    kind = named(name)
    found = verdicts.of_image(made(kind, kind.strengths[1]), 0.2)
    assert found.said in ("unknown", "falsified", "refused"), found.why


def test_some_controls_are_proved() -> None:
    """A tool that refuses everything would make no false claim either."""
    said = [verdicts.of_bounds(made(named(name), ONE, "benign")) for name in ("gemm_alpha", "conv_relu")]
    assert all(each.proved for each in said)


def line(role: str, *, proved: bool, **more: Any) -> dict[str, Any]:
    found = {"kind": "a", "role": role, "fired": True, "proved": proved, "traceback": False, "verdicts": {}}
    return found | more


def test_false_proofs_and_lost_controls_are_counted() -> None:
    lines = [
        line("trap", proved=True, broken=True),
        line("trap", proved=False, broken=True, fired=False),
        line("trap", proved=False, broken=True, verdicts={"vnnlib": "sat"}),
        line("benign", proved=True, robust=True),
        line("silent", proved=False, robust=True),
        line("silent", proved=True, robust=False),
        line("silent", proved=False, robust=False, traceback=True),
    ]
    assert rewrite_traps.counted(lines)["a"] == {
        "traps": 3,
        "fired": 2,
        "true": 2,
        "false": 2,
        "sat": 1,
        "tracebacks": 1,
        "controls": 2,
        "controls_proved": 1,
    }
    assert [rewrite_traps.wrong(each) for each in lines] == [True, False, False, False, False, True, True]


def test_a_rewrite_is_told_by_the_operators() -> None:
    found = {"given": {"Mul": 2}, "basic": {"Mul": 1}, "extended": {"com.microsoft:FusedMatMul": 1}}
    gone = Kind("a", "basic", named("conv_mul").build, "basic -Mul")
    come = Kind("b", "extended", gone.build, "extended +FusedMatMul")
    assert runtime.fired(gone, found)
    assert runtime.fired(come, found)
    assert not runtime.fired(gone, {"given": {"Mul": 2}, "basic": {"Mul": 2}})


def test_nan_breaks_a_property() -> None:
    assert runtime.broken([np.nan, 0.0, 0.0])
    assert runtime.broken([0.25, np.nan, 0.0])
    assert runtime.broken([0.25, 0.25, 0.0])
    assert not runtime.broken([0.25, 0.0, -1.0])


def test_the_record_has_a_line_a_kind() -> None:
    kind = named("conv_mul")
    jobs = [(kind.strengths[1], "trap"), (ONE, "benign")]
    lines = [
        rewrite_traps.measured(kind, each, role, rewrite_traps.CommandOptions(confirmed=True))
        for each, role in jobs
    ]
    found = rewrite_traps.recorded("conv_mul", rewrite_traps.counted(lines)["conv_mul"], lines)
    assert len(found["signs"]) == 24
    assert found["operators_changed"]["Mul"] == -1
    assert "default" in found["magnitudes"]["tiny"]["broken_at"]
    assert "disabled/1" not in found["magnitudes"]["tiny"]["broken_at"]
    assert found["controls_said"] == {"benign one": {"bounds": "certified"}}
