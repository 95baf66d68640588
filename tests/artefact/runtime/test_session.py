from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harden.artefact.runtime.session import Session
from harden.errors import InputError


def foreign(inputs: list[tuple[str, list[str | int | None]]], outputs: list[str]) -> bytes:
    """A graph of Identity nodes."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    shape = inputs[0][1]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs]
    nodes = [helper.make_node("Identity", [inputs[0][0]], [name]) for name in outputs]
    graph = helper.make_graph(nodes, "net", ports, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


IMAGE: list[str | int | None] = ["batch", 1, 8, 8]


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "does not load"),
        (b"not an onnx file", "does not load"),
        (foreign([("x", IMAGE)], ["logits"]), r"\['x', 'logits'\]"),
        (foreign([("image", IMAGE)], ["y"]), r"\['image', 'y'\]"),
        (foreign([("image", IMAGE)], ["logits", "more"]), "'more'"),
        (foreign([("image", IMAGE), ("other", IMAGE)], ["logits"]), "'other'"),
        (foreign([("image", ["batch", 64])], ["logits"]), "image"),
    ],
    ids=["empty", "text", "input name", "output name", "two outputs", "two inputs", "flat input"],
)
def test_other_content_is_refused(content: bytes, seen: str) -> None:
    with pytest.raises(InputError, match=seen) as caught:
        Session(content)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused_by_name(issued: Path, tmp_path: Path) -> None:
    whole = (issued / "model.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.onnx"):
        Session(cut)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 3, 8, 8), (2, 1, 9, 8), (2, 64)])
def test_images_of_another_shape_are_refused(issued: Path, shape: tuple[int, ...]) -> None:
    session = Session(issued / "model.onnx")
    with pytest.raises(InputError, match=r"expected \(N, 1, 8, 8\)"):
        session(np.zeros(shape, np.float32))


def test_shapes_are_read_from_the_graph(issued: Path) -> None:
    session = Session(issued / "model.onnx")
    assert session.image_shape == (1, 8, 8)
    assert session.classes == 10


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2],
        lambda x: np.asfortranarray(x),
        lambda x: x[:, :, ::-1],
        lambda x: x.astype(np.float64),
    ],
    ids=["strided", "fortran", "reversed", "float64"],
)
def test_memory_layout_does_not_matter(
    issued: Path,
    view: Callable[
        [np.ndarray[tuple[int, ...], np.dtype[np.float32]]], np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ],
) -> None:
    session = Session(issued / "model.onnx")
    x = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(session(view(x)), session(np.array(view(x), np.float32, order="C")))


def test_the_file_that_is_shipped_is_valid_onnx(issued: Path) -> None:
    model = onnx.load(issued / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [port.name for port in model.graph.input] == ["image"]


def test_names_that_are_no_text_are_refused(traced: bytes) -> None:
    assert traced.count(b"image") >= 2
    with pytest.raises(InputError, match=r"(UTF-8|does not load|does not parse).*; expected an "):
        Session(traced.replace(b"image", b"\xff\x80\xffge"))


def foreign_of(given: list[int | str], answer: list[int | str], node: str = "Identity") -> bytes:
    """Another's graph of one node."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", given), ("y", answer))
    ]
    graph = helper.make_graph([helper.make_node(node, ["x"], ["y"])], "net", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    ("given", "image", "shape"),
    [
        (["b", "n"], (5,), (5,)),
        (["b", "n"], (1, 2, 3), (6,)),
        (["b", "h", "w", 3], (3, 4, 5), (4, 5, 3)),
        (["b", 3, "h", "w"], (3, 4, 5), (3, 4, 5)),
        (["b", "n", "m"], (4, 5), (4, 5)),
    ],
)
def test_open_sizes_are_those_of_the_images(
    given: list[int | str], image: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    session = Session(foreign_of(given, given), exported=False, image_shape=image)
    assert session.takes_any_size
    assert (session.image_shape, session.answer_shape) == (shape, shape)
    assert session(np.ones((2, *shape), dtype=np.float32)).shape == (2, session.classes)


@pytest.mark.parametrize("image", [None, (3,), (2, 4, 5)])
def test_sizes_that_no_image_fits_are_refused(image: tuple[int, ...] | None) -> None:
    given: list[int | str] = ["b", 3, "h", "w"]
    with pytest.raises(InputError, match=r"expected images \(batch, \.\.\.\) -> logits \(batch, K\)"):
        Session(foreign_of(given, given), exported=False, image_shape=image)


def test_a_number_for_the_whole_batch_is_no_logits() -> None:
    session = Session(foreign_of([2, 3, 4], ["a", "k", 1], "ReduceMean"), exported=False)
    with pytest.raises(InputError, match=r"gives \(1, 1, 1\) for 2 images; expected logits \(2, 1\)"):
        session(np.ones((2, 3, 4), dtype=np.float32))
