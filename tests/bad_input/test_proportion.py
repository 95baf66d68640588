"""Small files that once took gigabytes, minutes or the process: refused in one line, in little memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harden.bounds.vnnlib.parse import parse
from harden.cli import main
from harden.cli.options.config_file import options_of
from harden.errors import InputError

MEMORY = 2**30
SECONDS = 60


@pytest.fixture
def measured() -> Iterator[Callable[[], int]]:
    """The peak of what Python has allocated since."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def limited(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Verify in a process that may take a gigabyte and a minute."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY})); "
        "from harden.verifier.verify_command import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )


NESTED = {
    "lists of nothing": "[" + "[]," * 5_000_000 + "[]]",
    "lists in lists": "[" * 60 + "[]," * 5_000_000 + "[]" + "]" * 60,
    "objects": "[" + "{}," * 5_000_000 + "{}]",
    "numbers": "[" + "0," * 8_000_000 + "0]",
    "depth": "[" * 16_000_000,
    "digits": "1" * 16_000_000,
}


@pytest.mark.parametrize("kind", NESTED)
def test_a_certificate_of_many_values_is_a_broken_seal(kind: str, tmp_path: Path) -> None:
    (tmp_path / "certificate.json").write_text('{"a": ' + NESTED[kind] + "}")
    done = limited(tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "not strict JSON" in done.stdout
    assert "HARDEN_MOST_JSON_" in done.stdout
    assert len(done.stdout) < 500


KEYS = {
    "one key": "a." * 30_000 + "a = 1",
    "a table": "[" + "a." * 30_000 + "a]",
    "a quoted key": "'a'." * 15_000 + "a = 1",
    "tables in tables": "a = " + "{b = " * 10_000,
    "lists": "a = " + "[" * 60_000,
}


@pytest.mark.parametrize("kind", KEYS)
def test_options_nested_out_of_proportion_are_refused(
    kind: str, tmp_path: Path, measured: Callable[[], int]
) -> None:
    path = tmp_path / "harden.toml"
    path.write_text(KEYS[kind])
    with pytest.raises(InputError, match="HARDEN_MOST_CONFIG_DEPTH") as caught:
        options_of(path, "run", {})
    assert "\n" not in str(caught.value)
    assert measured() < 2**21


HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))"
WIDE = "".join(f"(declare-const X_{at} Real)" for at in range(20_000)) + "(declare-const Y_0 Real)"
PROPERTIES = {
    "an exponent": HEAD + "(assert (<= Y_0 1e1000000000))",
    "an exponent with underscores": HEAD + "(assert (<= Y_0 1e1_000_000_000))",
    "an exponent in other digits": HEAD
    + "(assert (<= Y_0 1e\u0661\u0660\u0660\u0660\u0660\u0660\u0660\u0660))",
    "many digits": HEAD + f"(assert (<= Y_0 0.{'1' * 100_000}))",
    "a product": HEAD + f"(assert (<= Y_0 {'(* 1e900 ' * 90}1{')' * 90}))",
    "depth": HEAD + "(assert " + "(and " * 50_000 + "(<= Y_0 1)" + ")" * 50_001,
    "depth of terms": HEAD + "(assert (<= Y_0 " + "(- " * 50_000 + "1" + ")" * 50_002,
    "clauses": HEAD + "(assert (or (<= Y_0 1) (>= Y_0 2)))" * 5_000,
    "boxes": WIDE + "(assert (or " + "(and (<= X_0 1) (<= Y_0 1))" * 9_000 + "))",
    "products of clauses": HEAD
    + f"(assert (or (and {'(<= Y_0 1)' * 5_000}) (<= Y_0 1)))"
    + f"(assert (or {'(<= Y_0 2)' * 4_000}))",
}


@pytest.mark.parametrize("kind", PROPERTIES)
def test_a_property_out_of_proportion_is_refused(kind: str, measured: Callable[[], int]) -> None:
    with pytest.raises(InputError) as caught:
        parse(PROPERTIES[kind])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert measured() < 2**28


def test_clauses_that_ask_about_one_box_share_it(measured: Callable[[], int]) -> None:
    """An image of 20,000 pixels and 9,000 other classes would be 360 million bounds."""
    bounds = "".join(f"(assert (<= X_{at} 1))(assert (>= X_{at} 0))" for at in range(2_000))
    head = "".join(f"(declare-const X_{at} Real)" for at in range(2_000)) + "(declare-const Y_0 Real)"
    found = parse(head + bounds + "(assert (or " + "(<= Y_0 1)" * 9_000 + "))")
    assert len(found.clauses) == 9_000
    assert len({id(clause.lower) for clause in found.clauses}) == 1
    assert measured() < 2**26


def test_assertions_without_end_take_time_in_proportion() -> None:
    """Each part of a conjunction once was copied with all parts before it."""
    found = parse(HEAD + "(assert (and " + "(<= Y_0 1)" * 50_000 + "))")
    assert len(found.clauses[0].rows) == 50_000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipe, and files to stand beside it."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    x, y = np.zeros((4, 4, 4, 1), np.uint8), np.arange(4) % 2
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    Path("model.onnx").write_bytes(b"")
    Path("artefact").mkdir()
    return tmp_path


DOORS = {
    "config": (("run", "--config", "WHAT"), 2),
    "data": (("evaluate", "model.onnx", "--data", "npz:WHAT", "--eps", "1/10"), 2),
    "weights": (
        ("evaluate", "torchvision:resnet18", "--weights", "WHAT", "--data", "npz:data.npz", "--eps", "1/10"),
        2,
    ),
    "baseline": (("check", "model.onnx", "--data", "npz:data.npz", "--baseline", "WHAT"), 4),
    "property": (("certify", "model.onnx", "--vnnlib", "WHAT"), 2),
    "model": (("certify", "WHAT.onnx", "--data", "npz:data.npz", "--eps", "1/10"), 2),
    "certificate": (("report", "artefact"), 2),
    "verified certificate": (("verify", "artefact"), 2),
}


@pytest.mark.parametrize("what", ["/dev/zero", "pipe"])
@pytest.mark.parametrize("door", DOORS)
def test_a_device_or_a_pipe_is_no_file(
    door: str, what: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, code = DOORS[door]
    (place / "WHAT.onnx").symlink_to(what)
    (place / "artefact" / "certificate.json").symlink_to(what if what[0] == "/" else place / what)
    words = tuple(word if "WHAT.onnx" in word else word.replace("WHAT", what) for word in words)
    assert main(words) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("harden")


def test_a_run_s_progress_that_is_a_pipe_is_refused(place: Path) -> None:
    from harden.models.snapshot import read_snapshot
    from harden.training.checkpointing.run_checkpoints import read_plan

    for read in (read_snapshot, read_plan):
        with pytest.raises((InputError, OSError), match="pipe"):
            read(place / "pipe")


def test_a_header_of_weights_is_counted_before_it_is_parsed(tmp_path: Path) -> None:
    from harden.models.snapshot import read_snapshot

    header = json.dumps({"__metadata__": {"facts": "[" * 100_000, "digest": ""}}).encode()
    content = io.BytesIO()
    content.write(len(header).to_bytes(8, "little") + header)
    (tmp_path / "state.safetensors").write_bytes(content.getvalue())
    with pytest.raises(InputError):
        read_snapshot(tmp_path / "state.safetensors")
