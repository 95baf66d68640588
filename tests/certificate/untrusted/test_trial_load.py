"""A file's first load and first answer: what takes too much of memory or time ends elsewhere."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from harden.certificate.untrusted import trial_load
from harden.certificate.untrusted.trial_load import check_affordable
from harden.errors import InputError
from harden.system.size_limits import PROCESS_BYTES, TRIAL_SECONDS

SHAPE = (1, 4, 4)
MANY = 400_000_000
"""float32 numbers that do not fit into what a limited process may take."""

Nodes = list[onnx.NodeProto]
node = helper.make_node


def classifier(nodes: Nodes, constants: dict[str, NDArray[Any]], shape: tuple[int, ...] = SHAPE) -> bytes:
    """Nodes that make `seen` (N, 1, 4, 4) of `image`, and a linear layer behind them."""
    weights = {"weight": np.ones((16, 3), np.float32), **constants}
    graph = helper.make_graph(
        [*nodes, node("Flatten", ["seen"], ["flat"]), node("MatMul", ["flat", "weight"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("image", 1, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", 1, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    found: bytes = model.SerializeToString()
    return found


def with_constants(nodes: Nodes, constants: dict[str, NDArray[Any]]) -> bytes:
    """The image times the largest of what nodes make as `large`."""
    more = [node("ReduceMax", ["large"], ["most"], keepdims=0), node("Mul", ["image", "most"], ["seen"])]
    return classifier([*nodes, *more], constants)


def cropped(nodes: Nodes, constants: dict[str, NDArray[Any]]) -> bytes:
    """A corner of what nodes make of the image as `large`."""
    ends = {"from": np.array([0, 0]), "to": np.array([4, 4]), "axes": np.array([2, 3])}
    return classifier(
        [*nodes, node("Slice", ["large", "from", "to", "axes"], ["seen"])], {**constants, **ends}
    )


ZERO = np.zeros(1, np.float32)
FILL = numpy_helper.from_array(ZERO)
SIDE = 20_000
LARGE = {
    "ConstantOfShape": with_constants(
        [node("ConstantOfShape", ["n"], ["large"], value=FILL)], {"n": np.array([MANY])}
    ),
    "Expand": with_constants([node("Expand", ["one", "n"], ["large"])], {"one": ZERO, "n": np.array([MANY])}),
    "Pad": with_constants([node("Pad", ["one", "n"], ["large"])], {"one": ZERO, "n": np.array([0, MANY])}),
    "Range": with_constants(
        [node("Range", ["a", "n", "d"], ["large"])],
        {name: np.array(number, np.float32) for name, number in (("a", 0), ("n", MANY), ("d", 1))},
    ),
    "Resize": with_constants(
        [node("Resize", ["one", "", "", "n"], ["large"])],
        {"one": np.zeros((1, 1, 1, 1), np.float32), "n": np.array([1, 1, SIDE, SIDE])},
    ),
    "MatMul": with_constants(
        [node("MatMul", ["column", "row"], ["large"])],
        {"column": np.zeros((SIDE, 1), np.float32), "row": np.zeros((1, SIDE), np.float32)},
    ),
    "Add": with_constants(
        [node("Add", ["column", "row"], ["large"])],
        {"column": np.zeros((SIDE, 1), np.float32), "row": np.zeros((1, SIDE), np.float32)},
    ),
    "Pad of images": cropped(
        [node("Pad", ["image", "n"], ["large"])], {"n": np.array([0, 0, 0, 0, 0, 0, SIDE, SIDE])}
    ),
    "Resize of images": cropped(
        [node("Resize", ["image", "", "n"], ["large"], mode="linear")],
        {"n": np.array([1, 1, 8192, 8192], np.float32)},
    ),
    "Conv with pads": cropped(
        [node("Conv", ["image", "kernel"], ["large"], pads=[SIDE // 2] * 4)],
        {"kernel": np.ones((1, 1, 1, 1), np.float32)},
    ),
}


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been tried in this process."""
    monkeypatch.setattr(trial_load, "_passed", {})


@pytest.fixture
def no_memory_here() -> Callable[[], int]:
    """How many bytes this process has taken since, at its peak."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return lambda: 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.parametrize("kind", LARGE)
def test_a_small_file_that_makes_much_is_refused_and_takes_nothing_here(
    kind: str, no_memory_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROCESS_BYTES.variable, str(2**29))
    with pytest.raises(InputError) as caught:
        check_affordable(LARGE[kind], "m.onnx", SHAPE)
    assert "m.onnx does not load and answer one image in a limited process" in str(caught.value)
    assert PROCESS_BYTES.variable in str(caught.value)
    assert "\n" not in str(caught.value)
    assert no_memory_here() < 100 * 2**20


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 40_000_000
    file = with_constants([node("ConstantOfShape", ["n"], ["large"], value=FILL)], {"n": np.array([size])})
    monkeypatch.setenv(PROCESS_BYTES.variable, str(2 * size))
    with pytest.raises(InputError, match="limited process"):
        check_affordable(file, "m.onnx", SHAPE)
    monkeypatch.setenv(PROCESS_BYTES.variable, str(2**30))
    check_affordable(file, "m.onnx", SHAPE)


def test_a_file_that_takes_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_load, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setenv(TRIAL_SECONDS.variable, "1")
    with pytest.raises(InputError, match="no answer within 1 s"):
        check_affordable(classifier([node("Relu", ["image"], ["seen"])], {}), "m.onnx", SHAPE)


def test_a_large_file_gets_time_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_load, "_CHILD", "raise SystemExit(3)")
    monkeypatch.setenv(TRIAL_SECONDS.variable, "10")
    file = classifier([node("Relu", ["image"], ["seen"])], {})
    for piece, seconds in ((len(file), 10), (len(file) // 5 + 1, 50), (10 * len(file), 10)):
        monkeypatch.setattr(trial_load, "_PIECE", piece)
        with pytest.raises(InputError, match=rf"exit code 3.* and {seconds} s;"):
            check_affordable(file, "m.onnx", SHAPE)


def test_an_honest_file_passes_and_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file = classifier([node("Relu", ["image"], ["seen"])], {})
    check_affordable(file, "m.onnx", SHAPE)
    monkeypatch.setattr(trial_load, "_CHILD", "raise SystemExit(3)")
    check_affordable(file, "m.onnx", SHAPE)
    with pytest.raises(InputError, match="exit code 3"):
        check_affordable(file, "m.onnx", (1, 8, 8))


def test_a_file_of_one_batch_size_and_one_of_open_sizes_answer() -> None:
    fixed = classifier([node("Reshape", ["image", "to"], ["seen"])], {"to": np.array([5, 1, 4, 4])})
    check_affordable(fixed, "m.onnx", SHAPE)  # one image is not what it takes: for a session to say
    large = cropped([node("Pad", ["image", "n"], ["large"])], {"n": np.array([0, 0, 0, 0, 0, 0, SIDE, SIDE])})
    model = onnx.load_from_string(large)
    for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_param = "open"
    with pytest.raises(InputError, match="limited process"):
        check_affordable(model.SerializeToString(), "m.onnx", SHAPE)


def test_a_file_that_does_not_load_is_refused_as_a_session_would() -> None:
    broken = classifier([node("Nonsense", ["image"], ["seen"])], {})
    with pytest.raises(InputError, match=r"m\.onnx does not load \(.*Nonsense.*an ONNX model"):
        check_affordable(broken, "m.onnx", SHAPE)
