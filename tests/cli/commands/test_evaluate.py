"""harden evaluate FILE.onnx: gradients from the file's own graph, verdicts from onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from harden.artefact.classifier_to_onnx import trace
from harden.attacks import PGD
from harden.data import Splits, load
from harden.evaluation import Attempt, evaluate
from harden.graph import GraphNetwork, read
from harden.losses import CrossEntropy
from harden.models import Classifier
from harden.threats import Linf
from tests.fitted import fitted

Harden = Callable[..., Any]
ATTACK = ("--steps", "10", "--restarts", "1", "--test-images", "80", "--eps", "1/6")


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load("digits")


@pytest.fixture(scope="module")
def twin(digits: Splits) -> Classifier:
    return Classifier(fitted(digits, 80))


@pytest.fixture(scope="module")
def file(twin: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bare") / "model.onnx"
    onnx.save(trace(twin, (1, 8, 8)), path)
    return path


def found(harden: Harden, path: Path, out: Path, *words: object) -> dict[str, Any]:
    answer = harden("evaluate", path, "--data", "digits", *ATTACK, "--json", out, *words)
    assert answer.code in (0, 1), answer.err
    assert answer.err == ""
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_a_file_is_attacked_as_its_twin_is(
    harden: Harden, file: Path, twin: Classifier, digits: Splits, tmp_path: Path
) -> None:
    bare = found(harden, file, tmp_path / "bare.json")
    assert bare["status"] == "ok"
    assert bare["decided_by"] == f"{file} in onnxruntime, white box through its own graph"
    whole = evaluate(
        twin,
        (digits.test.x, digits.test.y),
        Linf("1/6"),
        [Attempt("pgd", PGD(steps=10), CrossEntropy)],
    )
    assert abs(bare["robust"]["value"] - whole.robust.value) < 0.1
    assert 0.02 < bare["robust"]["value"] < bare["clean"]["value"] - 0.2


def test_other_names_and_one_batch_size(harden: Harden, file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    text = model.SerializeToString()
    other = onnx.ModelProto.FromString(text.replace(b"logits", b"scores").replace(b"image", b"input"))
    for value in (other.graph.input[0], other.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    del other.graph.value_info[:]
    onnx.save(other, tmp_path / "other.onnx")
    one = found(harden, file, tmp_path / "one.json")
    same = found(harden, tmp_path / "other.onnx", tmp_path / "same.json")
    assert one["clean"] == same["clean"]
    assert abs(one["robust"]["count"] - same["robust"]["count"]) <= 1


class Images(CalibrationDataReader):  # type: ignore[misc]  # the package is untyped
    def __init__(self, x: NDArray[np.float32]) -> None:
        self.rows = iter([{"image": x}])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.rows, None)


@pytest.mark.filterwarnings("ignore")
def test_an_int8_file_is_no_safer_than_transfer_says(
    harden: Harden, file: Path, twin: Classifier, digits: Splits, tmp_path: Path
) -> None:
    """Rounding hides the gradient from a naive reading; this one finds as much as the float32 twin does."""
    path = tmp_path / "int8.onnx"
    images = Images(digits.train.x[:200].numpy())
    quantize_static(file, path, images, quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt8)
    answer = harden("evaluate", path, "--data", "digits", *ATTACK, "--json", tmp_path / "f.json")
    assert answer.code in (0, 1), answer.err
    white = json.loads((tmp_path / "f.json").read_text())
    reading = Classifier(GraphNetwork(read(path)))
    x, y = digits.test.x[:200], digits.test.y[:200]
    attempts = [
        [Attempt("white", PGD(steps=20, restarts=2), CrossEntropy)],
        [Attempt("transfer", PGD(steps=20, restarts=2), CrossEntropy, source=twin)],
    ]
    own, transfer = (evaluate(reading, (x, y), Linf("1/6"), each).robust.value for each in attempts)
    assert own <= transfer + 0.01
    assert white["clean"]["value"] > 0.8


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (
            ("--data", "digits", "--head", "fc", "--output", "1"),
            "with --head and --output; expected a file alone",
        ),
        (("--data", "npz:{npz}"), "expected images (2, 8, 8)"),
    ],
)
def test_what_does_not_fit(
    harden: Harden, file: Path, tmp_path: Path, change: tuple[str, ...], seen: str
) -> None:
    x = np.zeros((20, 8, 8, 2), dtype=np.uint8)
    y = np.arange(20) % 10
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = [word.format(npz=tmp_path / "two.npz") for word in change]
    answer = harden("evaluate", file, *words)
    assert answer.code == 2
    assert seen in answer.err
    assert answer.err.count("\n") == 1


def test_other_classes_files_in_two_and_unknown_operators(harden: Harden, file: Path, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8), np.arange(20) % 4
    np.savez(tmp_path / "four.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    answer = harden("evaluate", file, "--data", f"npz:{tmp_path / 'four.npz'}")
    assert answer.code == 2
    assert "with 10 classes; expected 4" in answer.err
    model = onnx.load(file)
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="w", size_threshold=0)
    answer = harden("evaluate", tmp_path / "two.onnx", "--data", "digits")
    assert answer.code == 2
    assert "in another file" in answer.err
    assert "its weights inside" in answer.err
    model = onnx.load(file)
    (rectifier,) = [node for node in model.graph.node if node.op_type == "Relu"]
    rectifier.op_type = "Sin"
    onnx.save(model, tmp_path / "sine.onnx")
    answer = harden("certify", tmp_path / "sine.onnx", "--data", "digits")
    assert answer.code == 2
    assert "Sin (no rule)" in answer.err


@pytest.mark.parametrize("command", ["evaluate", "certify"])
def test_a_map_of_classes_is_no_classifier(harden: Harden, tmp_path: Path, command: str) -> None:
    """Flattened it would be of 640 classes, of which the labels name ten, and every image answered wrong."""
    weight = onnx.numpy_helper.from_array(np.ones((10, 1, 3, 3), dtype=np.float32), "w")
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", channels, 8, 8])
        for name, channels in (("x", 1), ("y", 10))
    ]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = onnx.helper.make_graph([node], "map", ports[:1], ports[1:], [weight])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "map.onnx")
    x = np.random.default_rng(0).random((20, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x_test=x, y_test=np.arange(20) % 10)
    words = ("--data", f"npz:{tmp_path / 'test.npz'}", "--norm", "linf", "--eps", "1/10")
    answer = harden(command, tmp_path / "map.onnx", *words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "an answer of shape (10, 8, 8) for each image; expected a classifier's logits, (K,)" in answer.err
