"""What attacks of a file may use: its graph, another network, its scores alone; and how images go into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from harden.models.input_layout import InputArrangement
from tests.bounds.networks import Builder
from tests.fitted import fitted

Harden = Callable[..., Any]
WORDS = ("--data", "digits", "--test-images", "60", "--eps", "1/6", "--steps", "10", "--restarts", "1")


def network(in_channels: int, num_classes: int) -> nn.Module:
    """What --twin builds: the fitted network's form, without its weights."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, num_classes),
    )


@pytest.fixture(scope="module")
def twin() -> nn.Module:
    return fitted(load("digits"), 80)


@pytest.fixture(scope="module")
def file(twin: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("access") / "model.onnx"
    onnx.save(trace(Classifier(twin), (1, 8, 8)), path)
    return path


@pytest.fixture(scope="module")
def unreadable(file: Path) -> Path:
    """The same logits, through an operator that the reader does not know: z + 0 sin z."""
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
    path = file.with_name("unreadable.onnx")
    onnx.save(model, path)
    return path


def found(harden: Harden, path: Path, out: Path, *words: object) -> dict[str, Any]:
    answer = harden("evaluate", path, *WORDS, "--json", out, *words)
    assert answer.code == 0, answer.err
    result: dict[str, Any] = json.loads(out.read_text())
    assert f"evidence level {result['evidence']}" in answer.out
    return result


def test_the_level_follows_from_what_can_be_read(
    harden: Harden, file: Path, unreadable: Path, twin: nn.Module, tmp_path: Path
) -> None:
    white = found(harden, file, tmp_path / "a.json")
    black = found(harden, unreadable, tmp_path / "c.json")
    weights = tmp_path / "weights.safetensors"
    save_file(twin.state_dict(), weights)
    words = ("--twin", f"{__name__}:network", "--weights", weights)
    transfer = found(harden, unreadable, tmp_path / "b.json", *words)
    assert (white["evidence"], transfer["evidence"], black["evidence"]) == ("A", "B", "C")
    assert "Sin (no rule)" in black["decided_by"]
    assert black["clean"] == white["clean"] == transfer["clean"]
    assert {*black["per_attack"]} == {"square", "noise"}
    assert [name for name in transfer["per_attack"] if name.endswith("-transfer")]
    # The twin has the file's own weights: climbing it breaks as much as climbing the file would.
    assert abs(transfer["robust"]["value"] - white["robust"]["value"]) < 0.07
    assert black["robust"]["value"] < black["clean"]["value"] - 0.2


def test_a_graph_can_be_left_unread(harden: Harden, file: Path, tmp_path: Path) -> None:
    said = found(harden, file, tmp_path / "f.json", "--black-box")
    assert (said["evidence"], {*said["per_attack"]}) == ("C", {"square", "noise"})


def test_a_twin_adds_transfer_to_a_file_that_is_read(
    harden: Harden, file: Path, twin: nn.Module, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(twin.state_dict(), weights)
    words = ("--twin", f"{__name__}:network", "--weights", weights)
    said = found(harden, file, tmp_path / "f.json", *words)
    assert said["evidence"] == "A"
    assert {"pgd-10-ce", "pgd-10-ce-transfer"} <= set(said["per_attack"])


@pytest.mark.parametrize("words", [("--twin", "small"), ("--black-box",)])
def test_they_are_for_files_alone(harden: Harden, words: tuple[str, ...]) -> None:
    answer = harden("evaluate", "small", *WORDS, *words)
    assert answer.code == 2
    assert "expected an ONNX file by itself" in answer.err


def rearranged(file: Path, size: list[int], order: list[int]) -> Path:
    """The same classifier for inputs of another shape."""
    model = onnx.load(file)
    (port,) = model.graph.input
    nodes = [helper.make_node("Transpose", ["given"], ["image_in"], perm=order)]
    if len(size) != 3:
        shape = numpy_helper.from_array(np.array([-1, 1, 8, 8]), "shape")
        model.graph.initializer.append(shape)
        nodes = [helper.make_node("Reshape", ["given", "shape"], ["image_in"])]
    for node in model.graph.node:
        node.input[:] = ["image_in" if name == port.name else name for name in node.input]
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("given", 1, ["batch", *size]))
    path = file.with_name(f"{'x'.join(map(str, size))}.onnx")
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("size", [[8, 8, 1], [64], [64, 1]])
def test_channels_last_and_rows_of_pixels(
    harden: Harden, file: Path, tmp_path: Path, size: list[int]
) -> None:
    other = rearranged(file, size, [0, 3, 1, 2])
    one = found(harden, file, tmp_path / "one.json")
    same = found(harden, other, tmp_path / "same.json")
    assert same["evidence"] == "A"
    assert same["clean"] == one["clean"]
    assert abs(same["robust"]["count"] - one["robust"]["count"]) <= 1
    words = ("--data", "digits", "--test-images", "20", "--eps", "1/100", "--method", "crown")
    proofs = []
    for path in (file, other):
        answer = harden("certify", path, *words, "--radius-steps", "1", "--json", tmp_path / "p.json")
        assert answer.code == 0, answer.err
        proofs.append(json.loads((tmp_path / "p.json").read_text())["verdicts"])
    assert proofs[0] == proofs[1]
    assert "certified" in proofs[0]


def test_arrangements_hold_the_same_numbers() -> None:
    x = torch.rand(2, 3, 4, 5)
    last = InputArrangement.between((3, 4, 5), (4, 5, 3))
    assert last is not None
    assert torch.equal(last(x), x.permute(0, 2, 3, 1))
    same = InputArrangement.between((3, 4, 5), (3, 4, 5))
    assert same is not None
    assert torch.equal(same(x), x)
    row = InputArrangement.between((1, 4, 5), (1, 20, 1))
    assert row is not None
    assert torch.equal(row(x[:, :1]).flatten(), x[:, 0].flatten())
    # Of several channels a row may begin with either order.
    assert InputArrangement.between((3, 4, 5), (60,)) is None
    assert InputArrangement.between((1, 4, 5), (5, 4)) is None


def test_a_row_of_several_channels_is_refused(harden: Harden, tmp_path: Path) -> None:
    net = Builder((128,))
    net.dense(128, 10)
    onnx.save(net.model(), tmp_path / "row.onnx")
    x = np.zeros((20, 8, 8, 2), dtype=np.uint8)
    y = np.arange(20) % 10
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    answer = harden("evaluate", tmp_path / "row.onnx", "--data", f"npz:{tmp_path / 'two.npz'}")
    assert answer.code == 2
    assert "for images (128,); expected images (2, 8, 8)" in answer.err
