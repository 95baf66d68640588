"""Files as other exporters write them: shapes of logits, open sizes, normalised images, Git LFS pointers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from tests.fitted import fitted

Harden = Callable[..., Any]
WORDS = ("--eps", "1/8", "--attacks", "quick", "--test-images", "40")
MEAN, STD = 0.4, 0.25
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "plain.onnx"
    onnx.save(trace(Classifier(fitted(load("digits"), 80)), (1, 8, 8)), path)
    return path


def ended(plain: Path, name: str, nodes: list[onnx.NodeProto], shape: list[str | int]) -> Path:
    """The same network with more nodes on its logits, which they call `raw`."""
    model = onnx.load(plain)
    for node in model.graph.node:
        node.output[:] = ["raw" if each == "logits" else each for each in node.output]
    model.graph.node.extend(nodes)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", 1, shape))
    del model.graph.value_info[:]
    path = plain.with_name(f"{name}.onnx")
    onnx.save(model, path)
    return path


def begun(plain: Path, name: str, nodes: list[onnx.NodeProto], more: dict[str, float]) -> Path:
    """The same network with more nodes on its images, from `given` to `image_in`."""
    model = onnx.load(plain)
    for node in model.graph.node:
        node.input[:] = ["image_in" if each == "image" else each for each in node.input]
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    for key, value in more.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), key))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("given", 1, ["n", 1, 8, 8]))
    path = plain.with_name(f"{name}.onnx")
    onnx.save(model, path)
    return path


def places(plain: Path) -> Path:
    """Logits (N, 10, 1, 1), as a network has that ends in global pooling."""
    return ended(
        plain, "places", [helper.make_node("Unsqueeze", ["raw", "axes"], ["logits"])], ["n", 10, 1, 1]
    )


@pytest.fixture(scope="module")
def four_axes(plain: Path) -> Path:
    path = places(plain)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def open_sizes(plain: Path) -> Path:
    """Height, width and the count of logits are not in the file."""
    path = ended(plain, "open", [helper.make_node("Identity", ["raw"], ["logits"])], ["n", "k"])
    model = onnx.load(path)
    for at, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[at].dim_param = name
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def normalised(plain: Path) -> Path:
    """The same network for images (x - MEAN) / STD, which it takes back to pixels."""
    nodes = [
        helper.make_node("Mul", ["given", "deviation"], ["scaled"]),
        helper.make_node("Add", ["scaled", "average"], ["image_in"]),
    ]
    return begun(plain, "normalised", nodes, {"deviation": STD, "average": MEAN})


def found(harden: Harden, path: Path, out: Path, *words: object) -> dict[str, Any]:
    answer = harden("evaluate", path, "--data", "digits", *WORDS, "--json", out, *words)
    assert answer.code == 0, answer.err + answer.out
    result: dict[str, Any] = json.loads(out.read_text())
    return {**result, "printed": answer.out}


@pytest.mark.parametrize("kind", ["four_axes", "open_sizes", "normalised"])
def test_a_file_of_another_form_has_the_numbers_of_the_plain_one(
    harden: Harden, plain: Path, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    words = ("--mean", MEAN, "--std", STD) if kind == "normalised" else ()
    one = found(harden, plain, tmp_path / "one.json")
    other = found(harden, request.getfixturevalue(kind), tmp_path / "other.json", *words)
    assert other["evidence"] == "A"
    assert other["clean"] == one["clean"]
    assert abs(other["robust"]["count"] - one["robust"]["count"]) <= 1
    assert 0 < one["robust"]["count"] < one["clean"]["count"]
    assert "guessing" not in other["printed"]


@pytest.mark.parametrize("kind", ["four_axes", "open_sizes", "normalised"])
def test_the_gate_takes_it_too(
    harden: Harden, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path, baseline = request.getfixturevalue(kind), tmp_path / "baseline.json"
    words = ("--data", "digits", "--baseline", baseline)
    normal = ("--mean", MEAN, "--std", STD) if kind == "normalised" else ()
    answer = harden("baseline", "update", path, *words, *WORDS, *normal)
    assert answer.code == 0, answer.err + answer.out
    answer = harden("check", path, *words, *normal)
    assert (answer.code, answer.err) == (0, ""), answer.out
    if normal:
        answer = harden("check", path, *words)
        assert answer.code == 4
        assert "preprocessing" in answer.err


def test_without_its_normalisation_poor_accuracy_is_named(
    harden: Harden, normalised: Path, tmp_path: Path
) -> None:
    words = ("--mean", 0.0, "--std", 1000)  # all images the same grey
    answer = harden("evaluate", normalised, "--data", "digits", *WORDS, *words)
    assert "can't be distinguished from guessing" in answer.out
    assert "--mean and --std" in answer.out
    answer = harden(
        "baseline",
        "update",
        normalised,
        "--data",
        "digits",
        *WORDS,
        "--baseline",
        tmp_path / "b.json",
        *words,
    )
    assert "can't be distinguished from guessing" in answer.out


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--mean", "0.5"), "mean without std"),
        (("--mean", "0.5,0.5", "--std", "0.2,0.2"), "2 means for images with 1 channels"),
        (("--mean", "128", "--std", "64"), "expected means of pixels in [0, 1]"),
        (("--mean", "x", "--std", "0.2"), "expected numbers with commas"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "baseline update"])
def test_a_normalisation_that_can_not_be(
    harden: Harden, plain: Path, tmp_path: Path, command: str, words: tuple[str, ...], seen: str
) -> None:
    more = () if command == "evaluate" else ("--baseline", tmp_path / "b.json")
    answer = harden(*command.split(), plain, "--data", "digits", *more, *words)
    assert answer.code == 2
    assert seen in answer.err
    assert answer.err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def one_logit(tmp_path: Path) -> tuple[Path, str]:
    """A network of one logit on the digits 0 and 1, and a spec of these images."""
    splits, arrays = load("digits"), {}
    for part in ("train", "test"):
        images = getattr(splits, part)
        rows = (images.y < 2).nonzero().flatten()[:60]
        arrays[f"x_{part}"] = images.x[rows].permute(0, 2, 3, 1).numpy()
        arrays[f"y_{part}"] = images.y[rows].numpy()
    np.savez(tmp_path / "two.npz", **arrays)
    x, y = arrays["x_train"].reshape(-1, 64), arrays["y_train"] * 2.0 - 1
    weight = np.linalg.solve(x.T @ x + 0.1 * np.eye(64), x.T @ y).astype(np.float32)[:, None]
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    ports = [helper.make_tensor_value_info("x", 1, ["n", 1, 8, 8])]
    ends = [helper.make_tensor_value_info("y", 1, ["n", 1])]
    graph = helper.make_graph(nodes, "one", ports, ends, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "one.onnx")
    return tmp_path / "one.onnx", f"npz:{tmp_path / 'two.npz'}"


def test_one_logit_tells_two_classes_apart(harden: Harden, tmp_path: Path) -> None:
    path, data = one_logit(tmp_path)
    words = ("--data", data, "--eps", "1/50", "--attacks", "quick")
    answer = harden("evaluate", path, *words, "--json", tmp_path / "f.json")
    assert answer.code == 0, answer.err + answer.out
    said = json.loads((tmp_path / "f.json").read_text())
    # The oracle: a linear logit w x is at its worst at w x -+ eps |w|_1, cut off at black and white.
    weight = numpy_helper.to_array(onnx.load(path).graph.initializer[0])[:, 0].astype(np.float64)
    with np.load(tmp_path / "two.npz") as arrays:
        x, y = arrays["x_test"].reshape(-1, 64).astype(np.float64), arrays["y_test"]
    worst = x - np.where(y == 1, 1, -1)[:, None] * np.sign(weight) / 50
    logits = np.clip(worst, 0, 1) @ weight
    assert said["clean"]["count"] == int(((x @ weight > 0) == (y == 1)).sum())
    assert said["robust"]["count"] == int(((logits > 0) == (y == 1)).sum())
    assert said["robust"]["count"] > 5
    baseline = ("--baseline", tmp_path / "b.json")
    answer = harden("baseline", "update", path, *words, *baseline, "--certify")
    assert answer.code == 0, answer.err + answer.out
    # A linear network is bounded exactly: what attacks leave is proved.
    (check,) = json.loads((tmp_path / "b.json").read_text())["checks"].values()
    counts = {name: each["accuracy"]["count"] for name, each in check["outcomes"].items()}
    assert counts["certified"] == counts["robust"]
    assert harden("check", path, "--data", data, *baseline).code == 0


def test_one_logit_for_ten_classes_is_refused_by_name(harden: Harden, tmp_path: Path) -> None:
    path, _ = one_logit(tmp_path)
    answer = harden("evaluate", path, "--data", "digits")
    assert answer.code == 2
    assert "one logit, read as two classes; expected 10" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "pointer.onnx", "--data", "digits"),
        ("check", "pointer.onnx", "--data", "digits", "--baseline", "{baseline}"),
        ("baseline", "update", "pointer.onnx", "--data", "digits"),
        ("certify", "pointer.onnx", "--data", "digits"),
        ("evaluate", "{plain}", "--data", "npz:pointer.npz"),
        ("evaluate", "{plain}", "--data", "folder:pictures"),
        ("evaluate", "small", "--data", "digits", "--weights", "pointer.safetensors"),
        ("check", "{plain}", "--data", "digits", "--baseline", "pointer.json"),
        ("check", "{plain}", "--data", "digits", "--config", "pointer.toml"),
        ("report", "run"),
        ("verify", "run"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_git_lfs_pointer_is_named(
    harden: Harden,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pointer.onnx", "pointer.npz", "pointer.safetensors", "pointer.json", "pointer.toml"):
        (tmp_path / name).write_text(POINTER)
    for part in ("train", "test"):
        for kind in ("cat", "dog"):
            (tmp_path / "pictures" / part / kind).mkdir(parents=True)
            (tmp_path / "pictures" / part / kind / "0.png").write_text(POINTER)
    (tmp_path / "run").mkdir()
    for name in ("certificate.json", "model.onnx", "evidence.npz"):
        (tmp_path / "run" / name).write_text(POINTER)
    baseline = tmp_path / "kept.json"
    if "{baseline}" in words:
        assert (
            harden("baseline", "update", plain, "--data", "digits", *WORDS, "--baseline", baseline).code == 0
        )
    answer = harden(*(word.format(plain=plain, baseline=baseline) for word in words))
    assert answer.code == 2, answer.out + answer.err
    assert (
        "a Git LFS pointer; expected the file that it points to; fetch it: run `git lfs pull`" in answer.err
    )
    assert answer.err.count("\n") == 1
