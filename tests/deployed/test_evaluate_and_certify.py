"""harden.evaluate and harden.certify of files give the command line's numbers; classifiers are as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

import harden
from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Method
from harden.cli import main
from harden.data import Examples, load
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed import FileAccess, FileEvaluation, FileProofs
from harden.errors import BrokenClaimError, InputError
from harden.evaluation import Evaluation, RadiusSearch, pgd_suite
from harden.evaluation import evaluate as evaluate_classifier
from harden.models import Classifier
from harden.threats import Linf
from tests.fitted import fitted

THREAT = Linf("1/6")
IMAGES = 40
SUITE = pgd_suite(5, 1)
COMMAND = ("--data", "digits", "--test-images", str(IMAGES), "--eps", "1/6")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return fitted(load("digits"), 80)


@pytest.fixture(scope="module")
def images() -> Examples:
    return evaluated_images(load("digits"), IMAGES)


@pytest.fixture(scope="module")
def file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deployed") / "model.onnx"
    onnx.save(trace(Classifier(network), (1, 8, 8)), path)
    return path


@pytest.fixture(scope="module")
def artefact(network: nn.Module, images: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harden.artefact.export import export
    from harden.artefact.measure_file import Claim

    folder = tmp_path_factory.mktemp("artefact") / "out"
    export(Classifier(network), folder, images, Claim(THREAT, SUITE))
    return folder


def unreadable(file: Path, folder: Path) -> Path:
    """The same logits through Sin, an operator without a rule: z + 0 sin z."""
    model = onnx.load(file)
    (out,) = [port.name for port in model.graph.output]
    for node in model.graph.node:
        node.output[:] = ["raw" if name == out else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    model.graph.node.extend(
        [
            helper.make_node("Sin", ["raw"], ["sine"]),
            helper.make_node("Mul", ["sine", "nothing"], ["zero"]),
            helper.make_node("Add", ["raw", "zero"], [out]),
        ]
    )
    onnx.save(model, folder / "unreadable.onnx")
    return folder / "unreadable.onnx"


def by_command(*words: object) -> dict[str, Any]:
    out = Path(str(words[-1]))
    assert main([str(word) for word in words]) in (0, 1)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_file_gets_the_numbers_of_the_command_line(file: Path, images: Examples, tmp_path: Path) -> None:
    said = by_command(
        "evaluate", file, *COMMAND, "--steps", 5, "--restarts", 1, "--json", tmp_path / "found.json"
    )
    found = harden.evaluate(file, images, THREAT, SUITE)
    assert isinstance(found, FileEvaluation)
    assert (found.level, found.decided_by) == (said["evidence"], said["decided_by"])
    assert found.clean.count == said["clean"]["count"]
    assert found.found.robust.count == round(IMAGES * said["per_attack"]["noise"]["robust"]["value"])
    broken_by = [found.found.attempts[at].name if at >= 0 else None for at in found.found.broken_by.tolist()]
    assert broken_by == said["per_example"]["broken_by"]
    assert "evidence level A" in repr(found)


def test_a_classifier_is_evaluated_as_before(network: nn.Module, images: Examples) -> None:
    model = Classifier(network)
    found = harden.evaluate(model, images, THREAT, SUITE, seed=3)
    before = evaluate_classifier(model, images, THREAT, SUITE, seed=3)
    assert isinstance(found, Evaluation)
    assert torch.equal(found.broken_by, before.broken_by)
    assert torch.equal(found.witnesses.witness, before.witnesses.witness)


def test_levels_follow_from_what_attacks_may_use(
    file: Path, images: Examples, network: nn.Module, tmp_path: Path
) -> None:
    few = images.take(torch.arange(20))
    other = unreadable(file, tmp_path)
    twin = FileAccess(twin=Classifier(network))
    found = {
        "A": harden.evaluate(file, few, THREAT, SUITE),
        "B": harden.evaluate(other, few, THREAT, SUITE, access=twin),
        "C": harden.evaluate(file, few, THREAT, SUITE, access=FileAccess(black_box=True)),
    }
    assert [each.level for each in found.values()] == ["A", "B", "C"]
    assert len({each.clean.count for each in found.values()}) == 1
    assert {each.name for each in found["C"].found.attempts} == {"square", "noise"}
    assert harden.evaluate(other, few, THREAT, SUITE).level == "C"
    # The twin has the file's own weights, so that transfer finds what the file's own gradients find.
    assert abs(found["A"].robust.count - found["B"].robust.count) <= 2


def test_a_normalisation_outside_of_the_file(network: nn.Module, images: Examples, tmp_path: Path) -> None:
    """The file of a network on (x - 0.25) / 0.5 needs mean and std for the numbers of the network on x."""

    class Inverse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(x * 0.5 + 0.25)
            return logits

    path = tmp_path / "normalised.onnx"
    onnx.save(trace(Classifier(Inverse().eval()), (1, 8, 8)), path)
    access = FileAccess(mean=(0.25,), std=(0.5,))
    found = harden.evaluate(path, images, THREAT, SUITE, access=access)
    plain = harden.evaluate(Classifier(network), images, THREAT, SUITE)
    assert found.clean.count == plain.clean.count
    assert abs(found.robust.count - plain.robust.count) <= 1


def test_artefacts_are_files_that_must_have_their_digest(
    artefact: Path, images: Examples, tmp_path: Path
) -> None:
    loaded = harden.load(artefact)
    one, other = (harden.evaluate(each, images, THREAT, SUITE) for each in (str(artefact), loaded))
    assert one.sha256 == other.sha256 == loaded.certificate.subject[0].digest["sha256"]
    assert one.robust.count == other.robust.count
    copy = Path(shutil.copytree(artefact, tmp_path / "copy"))
    held = harden.load(copy)
    content = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(content + b"\x72\x00")  # an empty field more: the same graph
    for changed in (copy, held):
        with pytest.raises(BrokenClaimError, match="as certified"):
            harden.evaluate(changed, images, THREAT, SUITE)


@pytest.mark.parametrize("name", ["certify", "evaluate"])
def test_what_is_no_such_file(
    name: str, file: Path, images: Examples, tmp_path: Path, network: nn.Module
) -> None:
    function: Callable[..., Any] = getattr(harden, name)
    (tmp_path / "empty").mkdir()
    wide = Examples(torch.rand(4, 1, 9, 8), torch.arange(4), tuple("0123"), "wide")
    more = Examples(images.x[:4], torch.arange(4), tuple(f"class {at}" for at in range(12)), "more")
    for path, data, seen in (
        (tmp_path / "none.onnx", images, "where no ONNX file is"),
        (tmp_path / "empty", images, "expected an ONNX file"),
        (file, wide, "expected images"),
        (file, more, "with 10 classes; expected 12"),
    ):
        with pytest.raises(InputError, match=seen):
            function(path, data, THREAT, SUITE)
    if name == "evaluate":
        with pytest.raises(InputError, match="judge with a file"):
            function(file, images, THREAT, SUITE, judge=network)
        with pytest.raises(InputError, match="access with a classifier"):
            function(Classifier(network), images, THREAT, SUITE, access=FileAccess())


def test_certify_gets_the_verdicts_of_the_command_line(file: Path, images: Examples, tmp_path: Path) -> None:
    words = ("--data", "digits", "--test-images", IMAGES, "--eps", "1/24", "--method", "crown")
    said = by_command("certify", file, *words, "--radius-steps", 1, "--json", tmp_path / "proofs.json")
    phases: set[str] = set()
    search = RadiusSearch(Method(climb=None), steps=1)
    found = harden.certify(file, images, Linf("1/24"), search=search, on_phase=lambda at: phases.add(at.name))
    assert isinstance(found, FileProofs)
    assert found.verdicts == said["verdicts"]
    assert [str(radius) for radius in found.radii] == said["radii"]
    assert found.sha256 == said["sha256"]
    assert (found.clean.count, found.certified.count) == (said["clean"]["count"], said["certified"]["count"])
    assert 0 < found.certified.count <= found.robust.count <= found.clean.count
    assert found.complete
    assert phases == {"attack", "prove"}


def test_certify_keeps_a_journal_of_its_own_settings(file: Path, images: Examples, tmp_path: Path) -> None:
    few = images.take(torch.arange(10))
    search = RadiusSearch(Method(climb=None), steps=0)
    words: dict[str, Any] = {"search": search, "journal": tmp_path / "journal"}
    one = harden.certify(file, few, Linf("1/24"), SUITE, **words)
    again = harden.certify(file, few, Linf("1/24"), SUITE, **words)
    assert one.verdicts == again.verdicts
    with pytest.raises(InputError, match="another"):
        harden.certify(file, few, Linf("1/24"), SUITE, seed=1, **words)


def test_a_limit_of_time_that_is_none(file: Path, images: Examples) -> None:
    for minutes in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="a positive number"):
            harden.certify(file, images, THREAT, SUITE, minutes=minutes)
