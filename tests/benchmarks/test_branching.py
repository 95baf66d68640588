"""benchmarks/branching.py at toy size: every image is certified, broken or open, and cutting loses none."""

from __future__ import annotations

from benchmarks import branching


def test_every_image_is_counted_once() -> None:
    line = branching.measured((20,), "1/12", 20, 2.0)
    assert line["certified"] + line["broken"] + line["open"] == line["images"] == 20
    assert line["certified"] >= line["certified_before"]
    assert line["open"] == 0  # twenty ReLUs are no work
    low, high = line["interval"]
    assert low <= line["certified"] / 20 <= high
