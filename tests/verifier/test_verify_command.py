from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from harden.verifier.verification import verify
from harden.verifier.verify_command import main

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def test_what_holds_is_good(artefact: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(artefact), "--json", str(tmp_path / "answer.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("verified: linf 1/10: robust accuracy at most ")
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["ok"] is True
    assert answer["exit_code"] == 0
    assert len(answer["checks"]) == len(lines) - 1 == 19


@pytest.mark.parametrize("name", ["model.onnx", "evidence.npz", "certificate.json"])
def test_any_flipped_bit_breaks_and_names_its_file(
    artefact: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = artefact / name
    good = path.read_bytes()
    draw = random.Random(name)
    for bit in draw.sample(range(8 * len(good)), 150):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bad)
        assert main([str(artefact)]) == 1, bit
        assert capsys.readouterr().out.splitlines()[-1] == f"broken: {name}", bit
    path.write_bytes(good)
    assert main([str(artefact)]) == 0


@pytest.mark.parametrize("name", ["model.onnx", "evidence.npz", "certificate.json"])
@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_cut_file_breaks(artefact: Path, capsys: pytest.CaptureFixture[str], name: str, keep: int) -> None:
    path = artefact / name
    path.write_bytes(path.read_bytes()[:keep])
    assert main([str(artefact)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"broken: {name}"


def test_a_missing_file_breaks_but_no_certificate_is_no_claim(
    artefact: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (artefact / "evidence.npz").unlink()
    assert main([str(artefact)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "broken: evidence.npz"
    (artefact / "certificate.json").unlink()
    assert main([str(artefact)]) == 2
    assert "no certificate.json" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2
    assert main([str(artefact / "model.onnx")]) == 2
    assert main([]) == 2
    assert main(["--help"]) == 0


def test_the_answer_is_written_where_a_claim_is_broken_too(artefact: Path, tmp_path: Path) -> None:
    (artefact / "evidence.npz").unlink()
    assert main([str(artefact), "--json", str(tmp_path / "answer.json")]) == 1
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert (answer["ok"], answer["exit_code"]) == (False, 1)


def test_unwritable_answer_is_an_input_error(artefact: Path, tmp_path: Path) -> None:
    assert main([str(artefact), "--json", str(tmp_path / "no" / "where.json")]) == 2


def test_an_equal_number_written_otherwise_is_seen(artefact: Path) -> None:
    path = artefact / "certificate.json"
    assert b'"seconds": 1e-05' in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b'"seconds": 1e-05', b'"seconds": 1E-05'))
    assert main([str(artefact)]) == 1


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in _paths(v, (*at, k))]
    if isinstance(value, list):
        return [p for k, v in enumerate(value) for p in _paths(v, (*at, k))]
    return [at]


# What the files cannot contradict: it is about how they came to be, and is only sealed.
NOT_RECOUNTED = {"attempted", "passes", "seconds", "batches", "seeds", "spec"}


def test_a_forged_count_breaks_although_the_seal_fits(artefact: Path, forge: Forge) -> None:
    good = (artefact / "certificate.json").read_bytes()
    fields = json.loads(good)
    tried = 0
    for path in _paths(fields["predicate"]):
        value = fields["predicate"]
        for key in path:
            value = value[key]
        if (
            type(value) not in (int, float)
            or NOT_RECOUNTED & set(map(str, path))
            or path[0] in ("parity", "gallery")
            or (path[0], path[-1]) == ("checks", "value")
        ):
            continue  # told; or another witness that fits the gallery as well

        def edit(fields: dict[str, Any], path: tuple[Any, ...] = path, value: Any = value) -> None:
            inner = fields["predicate"]
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value + 1 if type(value) is int else value * 0.999 + 1e-6

        forge(artefact, edit)
        assert main([str(artefact)]) == 1, path
        (artefact / "certificate.json").write_bytes(good)
        tried += 1
    assert tried > 60


def test_a_consistently_forged_bit_breaks(artefact: Path, forge: Forge) -> None:
    """More robust than it is, with every count and sum made to fit: the witness is left over."""

    def edit(fields: dict[str, Any]) -> None:
        p = fields["predicate"]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(p["bits"]["robust_correct"]), np.uint8))
        clean = np.unpackbits(np.frombuffer(bytes.fromhex(p["bits"]["clean_correct"]), np.uint8))
        bits[int(np.flatnonzero(clean & ~bits)[0])] = 1
        p["bits"]["robust_correct"] = np.packbits(bits).tobytes().hex()

    forge(artefact, edit)
    found = {c.name for c in verify(artefact).checks if not c.passed}
    assert {"counts", "attacks", "classes"} <= found


def test_unknown_and_missing_fields_break(artefact: Path, forge: Forge) -> None:
    good = (artefact / "certificate.json").read_bytes()
    for path in [(), ("predicate",), ("predicate", "bits"), ("predicate", "bracket", "robust")]:
        for add in (True, False):

            def edit(fields: dict[str, Any], path: tuple[str, ...] = path, add: bool = add) -> None:
                inner = fields
                for key in path:
                    inner = inner[key]
                if add:
                    inner["extra"] = 1
                else:
                    del inner[next(k for k in inner if k not in ("subject", "seal"))]

            forge(artefact, edit)
            checks = verify(artefact).checks
            assert [(c.name, c.passed) for c in checks] == [("seal", True), ("schema", False)]
            (artefact / "certificate.json").write_bytes(good)


def _rewrite(folder: Path, **changes: Callable[[Any], Any]) -> None:
    with np.load(folder / "evidence.npz") as file:
        arrays = {name: file[name] for name in file.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name].copy())
    np.savez(folder / "evidence.npz", allow_pickle=False, **arrays)


def _keeping_dtype(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda array: change(array).astype(array.dtype)


def _broken(folder: Path) -> list[tuple[str, str]]:
    return [(c.name, c.file) for c in verify(folder).checks if not c.passed]


def test_a_witness_outside_the_ball_by_one_float_breaks(artefact: Path, forge: Forge) -> None:
    def out(w: Any) -> Any:
        with np.load(artefact / "evidence.npz") as file:
            o = file["original"]
        far = np.unravel_index(np.abs(w.astype(float) - o).argmax(), w.shape)
        away = np.float32(2.0 if w[far] > o[far] else -2.0)
        while abs(float(w[far]) - float(o[far])) <= 0.1:
            w[far] = np.nextafter(w[far], away)
        return w

    _rewrite(artefact, witness=out)
    forge(artefact, lambda fields: None)
    assert ("ball", "evidence.npz") in _broken(artefact)


def test_witnesses_that_do_not_break_or_are_not_finite_are_seen(artefact: Path, forge: Forge) -> None:
    good = (artefact / "evidence.npz").read_bytes()
    with np.load(artefact / "evidence.npz") as file:
        original = file["original"]
    cases: list[tuple[dict[str, Callable[[Any], Any]], str]] = [
        ({"witness": lambda w: original}, "replay"),
        ({"witness": lambda w: np.where(np.arange(w.size).reshape(w.shape) == 0, np.nan, w)}, "ball"),
        ({"witness": lambda w: w + 2}, "ball"),
        ({"index": lambda i: i[::-1] * 0}, "witnesses"),
        ({"label": lambda y: (y + 1) % 3}, "witnesses"),
        ({"label": lambda y: y + 7}, "witnesses"),
        ({"witness": lambda w: w.astype(np.float64)}, "arrays"),
        ({"witness": lambda w: w[:-1]}, "arrays"),
    ]
    for changes, name in cases:
        dtypes = dict(changes)
        if name != "arrays":
            dtypes = {k: _keeping_dtype(f) for k, f in changes.items()}
        _rewrite(artefact, **dtypes)
        forge(artefact, lambda fields: fields["predicate"].update(gallery=[]))
        assert (name, "evidence.npz") in _broken(artefact), name
        (artefact / "evidence.npz").write_bytes(good)


def test_pickles_bombs_and_extra_members_are_not_loaded(artefact: Path, forge: Forge) -> None:
    np.savez(artefact / "evidence.npz", allow_pickle=True, index=np.array([{}], dtype=object))
    forge(artefact, lambda fields: None)
    assert _broken(artefact) == [("arrays", "evidence.npz")]


def test_a_model_that_does_not_run_is_a_broken_claim(
    artefact: Path, forge: Forge, proto: onnx.ModelProto
) -> None:
    from harden.certificate.graph_digest import graph_digest

    for field, value in (("op_type", "NoSuchOperator"), ("name", "other")):
        model = onnx.ModelProto()
        model.CopyFrom(proto)
        if field == "op_type":
            model.graph.node[1].op_type = value
        else:
            model.graph.output[0].name = model.graph.node[1].output[0] = value
        (artefact / "model.onnx").write_bytes(model.SerializeToString())

        def edit(fields: dict[str, Any], model: onnx.ModelProto = model) -> None:
            fields["subject"][0]["digest"]["graph"] = graph_digest(model)

        forge(artefact, edit)
        assert _broken(artefact) == [("replay", "model.onnx")]


def test_another_model_under_the_same_evidence_breaks(
    artefact: Path, forge: Forge, proto: onnx.ModelProto
) -> None:
    weight = numpy_helper.to_array(proto.graph.initializer[0]) * np.float32(-1)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    (artefact / "model.onnx").write_bytes(proto.SerializeToString())
    forge(artefact, lambda fields: None)
    assert _broken(artefact) == [("graph", "model.onnx")]


def test_a_claim_of_proof_is_refused_since_none_can_be_checked(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        fields["predicate"]["bracket"]["method"] = "trust me"

    forge(artefact, edit)
    assert _broken(artefact) == [("proof", "certificate.json")]


def test_ties_are_excused_within_the_tolerance_only(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        fields["predicate"]["parity"]["tolerance"] = 1e9
        fields["predicate"]["gallery"] = []

    with np.load(artefact / "evidence.npz") as file:
        original = file["original"]
    _rewrite(artefact, witness=lambda w: original)
    forge(artefact, edit)
    assert ("replay", "evidence.npz") in _broken(artefact)


BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "torch torchvision pydantic scipy typer jinja2 accelerate".split():
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
from harden.verifier.verify_command import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_runs_without_what_it_checks(artefact: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCK, str(artefact)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verified: ")


def test_it_runs_as_a_module(artefact: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "harden.verifier", str(artefact)], cwd=root, check=False)
    assert done.returncode == 0


def test_the_file_says_what_was_found_whatever_that_is(
    artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what an earlier run said of the folder as it was."""
    answer = tmp_path / "answer.json"
    words = [str(artefact), "--json", str(answer)]
    assert main(words) == 0
    assert json.loads(answer.read_text())["ok"] is True
    (artefact / "evidence.npz").write_bytes(b"none")
    assert main(words) == 1
    assert (json.loads(answer.read_text())["ok"], json.loads(answer.read_text())["exit_code"]) == (False, 1)
    (artefact / "certificate.json").unlink()
    assert main(words) == 2
    assert "no certificate.json" in json.loads(answer.read_text())["error"]
    capsys.readouterr()
    assert main([str(artefact), "--json", str(tmp_path)]) == 2
    assert "a folder; expected a writable place" in capsys.readouterr().err


def test_a_reader_that_goes_away_changes_no_answer(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("harden.verifier.verify_command.say", gone)
    assert main([str(artefact), "--json", str(tmp_path / "answer.json")]) == 0
    assert json.loads((tmp_path / "answer.json").read_text())["ok"] is True
    (artefact / "evidence.npz").write_bytes(b"none")
    assert main([str(artefact)]) == 1
