"""Two files of benchmarks: slower and missing fail, what is of another machine or job is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare

MACHINE = {
    "node": "runner",
    "machine": "x86_64",
    "system": "Linux",
    "release": "6.1",
    "processor": "",
    "python_implementation": "CPython",
    "python_version": "3.11.7",
    "cpu": {"brand_raw": "A CPU", "arch_string_raw": "x86_64", "count": 2, "hz_actual": [2_000_000_000, 0]},
}
Store = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Writes a file as pytest-benchmark does: fields that nobody reads are left out."""

    def write(name: str, seconds: dict[str, float], threads: int | None = 1, **fields: Any) -> Path:
        entries = [
            {
                "fullname": key,
                "stats": {"min": value, "mean": 2 * value},
                "extra_info": {} if threads is None else {"threads": threads, "build": name},
            }
            for key, value in seconds.items()
        ]
        content = {"machine_info": MACHINE, "datetime": "2026-01-01T10:00:00+00:00", "benchmarks": entries}
        (tmp_path / name).write_text(json.dumps({**content, **fields}))
        return tmp_path / name

    return write


def run(*words: object) -> int:
    return compare.main([str(word) for word in words])


def test_equal_and_faster_are_good(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    base = store("base", {"a": 1.0, "b": 2.0})
    assert run(base, store("now", {"a": 1.0, "b": 0.5})) == 0
    assert "0 of 2 slower" in capsys.readouterr().out


def test_slower_than_the_factor_fails(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    base, now = store("base", {"a": 1.0, "b": 2.0}), store("now", {"a": 1.6, "b": 2.0})
    assert run(base, now) == 1
    (slower,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("SLOWER")]
    assert slower.endswith("a: 1 s -> 1.6 s, x1.60")
    assert run(base, now, "--factor", 2) == 0
    assert run(now, base) == 0


@pytest.mark.parametrize(
    ("base", "now", "side"),
    [({"a": 1.0, "b": 1.0}, {"a": 1.0}, "candidate"), ({"a": 1.0}, {"a": 1.0, "b": 1.0}, "base")],
)
def test_a_missing_entry_fails_at_any_factor(
    store: Store, capsys: pytest.CaptureFixture[str], base: Any, now: Any, side: str
) -> None:
    assert run(store("base", base), store("now", now), "--factor", 1000) == 1
    assert f"MISSING  b: not in the {side}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other",
    [
        {"machine_info": {**MACHINE, "node": "another"}},
        {"machine_info": {**MACHINE, "python_version": "3.12.0"}},
        {"machine_info": {**MACHINE, "cpu": {**MACHINE["cpu"], "brand_raw": "B"}}},  # type: ignore[dict-item]  # of mixed types
        {"machine_info": {**MACHINE, "cpu": {**MACHINE["cpu"], "count": 4}}},  # type: ignore[dict-item]  # of mixed types
        {"datetime": "2026-01-01T17:00:00+00:00"},
        {"datetime": "2025-12-31T10:00:00+00:00"},
        {"datetime": "2026-01-01T10:00:00"},
        {"benchmarks": []},
        {"benchmarks": {}},
        {"machine_info": None},
        {"threads": 2},
        {"threads": None},
    ],
)
def test_what_can_not_be_compared_is_refused(
    store: Store, capsys: pytest.CaptureFixture[str], other: dict[str, Any]
) -> None:
    """Not even where the times are equal."""
    base, now = store("base", {"a": 1.0}), store("now", {"a": 1.0}, **other)
    for pair in ((base, now), (now, base)):
        assert run(*pair) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)


def test_the_clock_frequency_of_the_moment_is_no_other_machine(store: Store) -> None:
    cpu = {**MACHINE["cpu"], "hz_actual": [1, 0]}  # type: ignore[dict-item]  # of mixed types
    now = store("now", {"a": 1.0}, machine_info={**MACHINE, "cpu": cpu})
    assert run(store("base", {"a": 1.0}), now) == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"machine_info": 1, "benchmarks": 2}'])
def test_damaged_files_are_refused(store: Store, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad").write_text(content)
    base = store("base", {"a": 1.0})
    assert run(base, tmp_path / "bad") == run(tmp_path / "bad", base) == 2
    assert run(base, tmp_path / "none") == run(base, tmp_path) == 2


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_can_not_be_are_refused(store: Store, seconds: float) -> None:
    assert run(store("base", {"a": 1.0}), store("now", {"a": seconds})) == 2


def test_a_name_twice_is_refused(store: Store) -> None:
    base = store("base", {"a": 1.0})
    entries = 2 * json.loads(base.read_text())["benchmarks"]
    assert run(base, store("now", {}, benchmarks=entries)) == 2


@pytest.mark.parametrize("factor", ["0.5", "nan", "inf", "fast"])
def test_a_factor_that_can_not_be(store: Store, factor: str) -> None:
    base = store("base", {"a": 1.0})
    with pytest.raises(SystemExit) as left:
        run(base, base, "--factor", factor)
    assert left.value.code == 2
