"""A file that is replaced while a command runs: what is digested is what was attacked, at whatever moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import harden as sdk
from harden.artefact import artefact
from harden.artefact.classifier_to_onnx import trace
from harden.artefact.runtime import session
from harden.certificate import certificate_file
from harden.data import load
from harden.errors import ExportError
from harden.models import Classifier
from harden.system import atomic_files
from harden.system.size_limits import SizeLimit
from tests.cli.conftest import FAST, Harden
from tests.fitted import fitted

QUICK = ("--attacks", "pgd", *FAST)


@pytest.fixture(scope="module")
def contents() -> tuple[bytes, bytes]:
    """The file that is there at first, and another that fits the same data and answers otherwise."""
    digits = load("digits")
    both = (trace(Classifier(fitted(digits, steps)), (1, 8, 8)).SerializeToString() for steps in (60, 1))
    first, other = both
    return first, other


@pytest.fixture
def model(tmp_path: Path, contents: tuple[bytes, bytes]) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(contents[0])
    return path


@pytest.fixture(params=["at the first reading", "before the attack"])
def replaced(
    request: pytest.FixtureRequest,
    model: Path,
    contents: tuple[bytes, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], None]:
    """Replaces the model's file at a moment of the command that follows."""

    def arm() -> None:
        if request.param == "at the first reading":
            read = atomic_files.read_bytes

            def once(path: Path, most: SizeLimit) -> bytes:
                content = read(path, most)
                model.write_bytes(contents[1])
                return content

            monkeypatch.setattr(session, "read_bytes", once)
            monkeypatch.setattr(artefact, "read_bytes", once)
            return
        for name in (
            "artefact.attack_and_prove.evaluate",
            "cli.commands.evaluate.measure",
            "deployed.decide_property.first_disagreement",
        ):
            place = f"harden.{name}"
            work = _found(place)

            def late(*given: object, work: Callable[..., object] = work, **more: object) -> object:
                model.write_bytes(contents[1])
                return work(*given, **more)

            monkeypatch.setattr(place, late)

    return arm


def _found(place: str) -> Callable[..., object]:
    import importlib

    module, _, name = place.rpartition(".")
    found: Callable[..., object] = getattr(importlib.import_module(module), name)
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_baseline_holds_the_digest_of_what_was_attacked(
    model: Path, contents: tuple[bytes, bytes], npz: str, harden: Harden, replaced: Callable[[], None]
) -> None:
    words = ("baseline", "update", model, "--data", npz, *QUICK, "--baseline")
    before = harden(*words, model.with_name("before.json"), "--json", model.with_name("b"))
    assert before.code == 0, before.err
    replaced()
    after = harden(*words, model.with_name("after.json"), "--json", model.with_name("a"))
    assert after.code == 0, after.err
    assert model.read_bytes() == contents[1]
    told = [json.loads(model.with_name(name).read_text()) for name in ("b", "a")]
    assert told[0] == told[1]
    assert told[1]["model"]["file"] == digest(contents[0])


def test_a_check_names_what_it_compared(
    model: Path, contents: tuple[bytes, bytes], npz: str, harden: Harden, replaced: Callable[[], None]
) -> None:
    baseline, answer = model.with_name("baseline.json"), model.with_name("answer.json")
    known = harden("baseline", "update", model, "--data", npz, *QUICK, "--baseline", baseline)
    assert known.code == 0, known.err
    base = model.with_name("base.onnx")
    base.write_bytes(contents[0])
    replaced()
    words = ("check", model, "--data", npz, "--baseline", baseline, "--json", answer)
    assert harden(*words, "--bench", base, "--bench-rounds", 7, "--bench-images", 2).code in (0, 1)
    assert model.read_bytes() == contents[1]
    (told,) = json.loads(answer.read_text())["models"].values()
    assert told["now"] == told["before"]
    for each in json.loads(answer.read_text())["comparisons"]:
        assert (each["gained"], each["lost"]) == (0, 0)


def test_a_proof_is_of_the_file_that_it_names(
    model: Path, contents: tuple[bytes, bytes], npz: str, harden: Harden, replaced: Callable[[], None]
) -> None:
    few = ("certify", model, "--data", npz, "--test-images", 8, "--eps", "1/50", "--attacks", "pgd")
    words = (*few, "--method", "ibp", "--radius-steps", 0)
    assert harden(*words, "--json", model.with_name("b")).code == 0
    replaced()
    assert harden(*words, "--json", model.with_name("a")).code == 0
    told = [json.loads(model.with_name(name).read_text()) for name in ("b", "a")]
    assert model.read_bytes() == contents[1]
    assert digest(contents[0]) in json.dumps(told[1])
    for each in told:
        each.pop("seconds")
    assert (
        json.dumps(told[0]).count(digest(contents[1])) == json.dumps(told[1]).count(digest(contents[1])) == 0
    )
    assert told[0]["verdicts"] == told[1]["verdicts"]


def test_an_answer_to_a_property_is_of_the_file_that_it_names(
    model: Path, contents: tuple[bytes, bytes], harden: Harden, replaced: Callable[[], None]
) -> None:
    """Class 0 against class 1 at one point: the two files answer it otherwise."""
    x = np.asarray(load("digits").test.x[:1], np.float32).reshape(-1)
    sessions = [session.Session(each) for each in contents]
    logits = [each(x.reshape(1, 1, 8, 8))[0] for each in sessions]
    k = next(k for k in range(1, 10) if (logits[0][k] > logits[0][0]) != (logits[1][k] > logits[1][0]))
    lines = [f"(declare-const X_{i} Real)" for i in range(64)] + [
        f"(declare-const Y_{i} Real)" for i in range(10)
    ]
    for i, value in enumerate(x.tolist()):
        lines += [f"(assert (<= X_{i} {value}))", f"(assert (>= X_{i} {value}))"]
    lines.append(f"(assert (>= Y_{k} Y_0))")
    spec = model.with_name("point.vnnlib")
    spec.write_text("\n".join(lines))
    words = ("certify", model, "--vnnlib", spec, "--json", model.with_name("a"))
    replaced()
    assert harden(*words).code == 0
    told = json.loads(model.with_name("a").read_text())
    assert model.read_bytes() == contents[1]
    assert told["sha256"] == digest(contents[0])
    assert told["answer"] == ("sat" if logits[0][k] > logits[0][0] else "unsat")


def test_an_evaluation_is_of_one_file(
    model: Path, contents: tuple[bytes, bytes], npz: str, harden: Harden, replaced: Callable[[], None]
) -> None:
    words = ("evaluate", model, "--data", npz, "--eps", "1/50", *FAST, "--json")
    assert harden(*words, model.with_name("b")).code == 0
    replaced()
    assert harden(*words, model.with_name("a")).code == 0
    assert model.read_bytes() == contents[1]
    told = [json.loads(model.with_name(name).read_text()) for name in ("b", "a")]
    assert told[0]["clean"] == told[1]["clean"]
    assert told[0]["robust"] == told[1]["robust"]


def test_a_loaded_artefact_executes_what_was_digested(folder: Path, contents: tuple[bytes, bytes]) -> None:
    x = np.asarray(load("digits").test.x[:8], np.float32)
    expected = sdk.load(folder)(x)
    artefact = sdk.load(folder)
    (folder / "model.onnx").write_bytes(contents[1])
    assert np.array_equal(artefact(x), expected)
    with pytest.raises(sdk.errors.BrokenClaimError):
        sdk.load(folder)


def test_an_artefact_loaded_while_its_file_is_replaced_is_the_old_one_or_none(
    folder: Path, contents: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.asarray(load("digits").test.x[:8], np.float32)
    expected = sdk.load(folder)(x)
    read = atomic_files.read_bytes

    def once(path: Path, most: SizeLimit) -> bytes:
        content = read(path, most)
        (folder / "model.onnx").write_bytes(contents[1])
        return content

    monkeypatch.setattr(artefact, "read_bytes", once)
    try:
        assert np.array_equal(sdk.load(folder)(x), expected)
    except sdk.errors.BrokenClaimError:
        # The evidence was read first.
        assert sorted(path.name for path in folder.iterdir())


def test_an_export_certifies_the_file_that_it_attacked(
    npz: str, tmp_path: Path, harden: Harden, contents: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = certificate_file.issue

    def late(place: Path, found: Any) -> object:
        (place / "model.onnx").write_bytes(contents[1])
        return issue(place, found)

    monkeypatch.setattr(certificate_file, "issue", late)
    answer = harden("export", "small", "--data", npz, "--eps", "1/50", *FAST, "--out", tmp_path / "out")
    assert answer.code == ExportError("", "", "").exit_code
    assert "changed while it was attacked" in answer.err
    assert not (tmp_path / "out").exists()


def test_the_two_files_answer_otherwise(contents: tuple[bytes, bytes]) -> None:
    """Or every test above would pass."""
    x = np.asarray(load("digits").test.x[:40], np.float32)
    first, other = (session.Session(each)(x).argmax(1) for each in contents)
    assert (first != other).mean() > 0.2
    assert onnx.load_from_string(contents[0]) != onnx.load_from_string(contents[1])
