"""harden evaluate MODEL --certificate DIR: what was found becomes a certificate that verifies, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from harden.artefact.artefact import Artefact
from harden.artefact.classifier_to_onnx import trace
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.cli import main
from harden.cli.commands.verify_page import check_page
from harden.data import load
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed.write_certificate import UNKNOWN, artefact_file
from harden.evaluation import pgd_suite
from harden.models import Classifier
from harden.system.safe_folders import remove_tree
from harden.threats import Linf
from harden.training.checkpointing.weights_file import save_weights
from harden.verifier.verification import verify
from tests.fitted import fitted

WORDS = ("--data", "digits", "--test-images", "40", "--eps", "1/20", "--steps", "10", "--restarts", "1")


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bare") / "model.onnx"
    onnx.save(trace(Classifier(fitted(load("digits"), 80)), (1, 8, 8)), path)
    return path


def test_a_bare_file_gets_a_certificate_of_unknown_provenance(file: Path, tmp_path: Path) -> None:
    out, found = tmp_path / "certified", tmp_path / "found.json"
    code = run("evaluate", file, *WORDS, "--certificate", out, "--json", found)
    said = json.loads(found.read_text())
    assert code == (0 if said["status"] == "ok" else 1)
    verification = verify(out)
    assert verification.ok, verification.checks
    page = check_page(out)
    assert not isinstance(page, str)
    assert page.passed
    predicate = Artefact(out).certificate.predicate
    assert (out / "model.onnx").read_bytes() == file.read_bytes()
    assert predicate.status == said["status"]
    assert predicate.clean.count == said["clean"]["count"]
    assert predicate.bracket.robust.count == said["n"] - len(
        [1 for right, by in zip(*broken(said), strict=True) if by is not None or not right]
    )
    assert predicate.provenance.recipe == {"provenance": UNKNOWN}
    assert predicate.provenance.stages == ()
    assert UNKNOWN in (out / "report.html").read_text()
    assert predicate.bracket.method is None  # nothing was proved, and nothing is claimed
    assert predicate.evidence.witnesses == predicate.clean.count - predicate.bracket.robust.count > 0


def broken(said: dict[str, Any]) -> tuple[list[bool], list[str | None]]:
    return said["per_example"]["clean_correct"], said["per_example"]["broken_by"]


def test_a_finished_artefact_is_replaced_with_force_alone(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "certified"
    assert run("evaluate", file, *WORDS, "--certificate", out) in (0, 1)
    before = (out / "certificate.json").read_bytes()
    assert run("evaluate", file, *WORDS, "--seed", "1", "--certificate", out) == 2
    assert (out / "certificate.json").read_bytes() == before
    assert run("evaluate", file, *WORDS, "--seed", "1", "--certificate", out, "--force") in (0, 1)
    assert (out / "certificate.json").read_bytes() != before
    assert verify(out).ok


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact with a checkpoint, as harden export writes it."""
    folder = tmp_path_factory.mktemp("run") / "out"
    digits = load("digits")
    model = Classifier(fitted(digits, 80))
    notes = {"spec": f"{__name__}:network", "mean": None, "std": None, "head": "", "output": ""}

    def write_checkpoint(place: Path) -> None:
        save_weights(model, place / "checkpoint")
        (place / "checkpoint" / "model.json").write_text(json.dumps(notes))

    claim = Claim(Linf("1/20"), pgd_suite(10, 1))
    export(model, folder, evaluated_images(digits, 40), claim, write_extra=write_checkpoint)
    return folder


def network() -> Any:
    return fitted(load("digits"), 0)


def test_an_artefacts_file_keeps_its_provenance(artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    words = [word if word != "1/20" else "1/10" for word in WORDS]
    assert run("evaluate", artefact, *words, "--certificate", out) in (0, 1)
    assert verify(out).ok
    one, other = (Artefact(folder).certificate for folder in (artefact, out))
    assert other.subject[0] == one.subject[0]
    assert other.predicate.threat.eps == "1/10"
    assert other.predicate.bracket.robust.count < one.predicate.bracket.robust.count
    assert other.predicate.parity == one.predicate.parity
    assert other.predicate.provenance.recipe == one.predicate.provenance.recipe
    assert other.predicate.provenance.stages == one.predicate.provenance.stages


def test_a_file_replaced_on_disk_is_not_certified(artefact: Path, tmp_path: Path) -> None:
    """The bytes in a certificate are those that were attacked, not those that lie there in the end."""
    copy = Path(shutil.copytree(artefact, tmp_path / "copy"))
    loaded, attacked = Artefact(copy), (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(b"another file")
    assert artefact_file(loaded).content == attacked


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_evaluated_artefact_is_never_written_over(
    artefact: Path, tmp_path: Path, force: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(artefact, tmp_path / "copy"))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for out in (copy, copy.parent):
        assert run("evaluate", copy, *WORDS, "--certificate", out, *force) == 2
        capfd.readouterr()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--eps", "1/20,1/10"), "several eps"),
        (("--black-box",), "--black-box"),
        (("--bfloat16", "--attacks", "pgd"), "--bfloat16"),
    ],
)
def test_what_no_certificate_can_hold_is_refused_first(
    file: Path, tmp_path: Path, words: tuple[str, ...], seen: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [word for word in WORDS if word not in ("--eps", "1/20")] if "--eps" in words else list(WORDS)
    assert run("evaluate", file, *given, *words, "--certificate", tmp_path / "out") == 2
    assert f"--certificate with {seen}" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


Change = Callable[[onnx.ModelProto], None]


def rename_input(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    model.graph.input[0].name = "picture"


def fix_the_batch(model: onnx.ModelProto) -> None:
    for port in (model.graph.input[0], model.graph.output[0]):
        port.type.tensor_type.shape.dim[0].dim_value = 4
    del model.graph.value_info[:]


@pytest.mark.parametrize(
    ("change", "seen"), [(rename_input, "of another form"), (fix_the_batch, "does not verify")]
)
def test_a_file_of_another_form_leaves_nothing_behind(
    file: Path, tmp_path: Path, change: Change, seen: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(file)
    change(model)
    onnx.save(model, tmp_path / "other.onnx")
    found = tmp_path / "found.json"
    words = ("evaluate", tmp_path / "other.onnx", *WORDS, "--json", found)
    assert run(*words, "--certificate", tmp_path / "out") == 2
    said = capfd.readouterr()
    assert seen in said.err
    # The form is checked before any attack; what fails later leaves the evaluation's result.
    assert found.exists() == ("attack" in said.out) == (seen == "does not verify")
    if (tmp_path / "out").exists():
        assert list((tmp_path / "out").iterdir()) == []
        remove_tree(tmp_path / "out")
