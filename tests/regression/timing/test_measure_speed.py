"""Paired timing of two files, on a clock that only the work moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harden.data import Splits
from harden.deployed.evidence_level import FileAccess
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.errors import InputError
from harden.evaluation import Phase
from harden.regression.timing import measure_speed
from harden.regression.timing.measure_speed import SpeedCheck, time_files, workloads

Work = Callable[[], None]


@pytest.fixture
def files(line_file: Path, greys: Splits, tmp_path: Path) -> tuple[OnnxClassifier, str]:
    """The candidate, and the path of a base of the same content."""
    base = tmp_path / "base.onnx"
    base.write_bytes(line_file.read_bytes())
    return OnnxClassifier.of(line_file, greys), str(base)


def test_ratios_are_those_of_the_clock_and_every_round_is_reported(
    files: tuple[OnnxClassifier, str], greys: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, base = files
    now, phases = [0.0], list[Phase]()

    def works(file: OnnxClassifier, *_: object) -> tuple[tuple[str, Work], ...]:
        def work(seconds: float) -> Work:
            def run() -> None:
                now[0] += seconds

            return run

        slow = 1.5 if file is candidate else 1.0
        return ("inference", work(slow)), ("attack", work(2.0))

    monkeypatch.setattr(measure_speed, "workloads", works)
    check = SpeedCheck(base, rounds=7, margin=0.1)
    found = time_files(candidate, greys, check, clock=lambda: now[0], on_phase=phases.append)
    assert [(each.measure, str(each.state)) for each in found] == [("inference", "FAIL"), ("attack", "PASS")]
    assert [each.timings.ratio for each in found] == [pytest.approx(1.5), pytest.approx(1.0)]
    assert {each.images for each in found} == {24}  # of 32: there are no more
    rounds = [(phase.name, phase.done, phase.total) for phase in phases]
    assert rounds[:7] == [("time inference", done, 7) for done in range(1, 8)]
    assert rounds[7:] == [("time attack", done, 7) for done in range(1, 8)]


def test_a_black_box_is_timed_at_inference_alone(files: tuple[OnnxClassifier, str], greys: Splits) -> None:
    names = [name for name, _ in workloads(files[0], greys, 4, FileAccess(black_box=True))]
    assert names == ["inference"]
    both = workloads(files[0], greys, 4)
    assert [name for name, _ in both] == ["inference", "attack"]
    for _, work in both:
        work()


@pytest.mark.parametrize("margin", [0.0, -0.1, 11.0, float("nan")])
def test_a_margin_outside_its_range_is_refused(margin: float) -> None:
    with pytest.raises(InputError, match=f"a speed margin of {margin:g}; expected a slowdown above 0"):
        SpeedCheck("base.onnx", margin=margin)


def test_counts_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="--bench-images 0; expected at least one"):
        SpeedCheck("base.onnx", images=0)
    with pytest.raises(InputError, match="--bench-rounds 6"):
        SpeedCheck("base.onnx", rounds=5)


def test_stored_times_are_no_base(tmp_path: Path) -> None:
    for name in ("times.json", "times.CSV"):
        with pytest.raises(InputError, match="where stored times would be"):
            _ = SpeedCheck(str(tmp_path / name)).path
    with pytest.raises(InputError, match="where no ONNX file is"):
        _ = SpeedCheck(str(tmp_path / "none.onnx")).path
