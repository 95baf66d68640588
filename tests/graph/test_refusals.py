"""What can't be read is refused in one line that names it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.graph.graphs import constant, model, normal, one, refusal

node = helper.make_node


def test_every_operator_without_a_rule_is_named_at_once() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Det", ["a"], ["b"], name="the determinant"),
        node("Sin", ["x"], ["c"], name="one sine"),
        node("Sin", ["a"], ["d"], name="another"),
        node("Add", ["c", "d"], ["e"]),
        node("Mul", ["b", "e"], ["y"]),
    ]
    said = refusal(model(nodes, ("n", 3, 3)))
    assert "Det (no rule) in the determinant" in said
    assert "Sin (no rule) in one sine and 1 more" in said
    assert "black box through onnxruntime" in said


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (one("Pad", ("n", 2, 4), np.array([0, 0, 4, 0, 0, 1]), mode="reflect"), "mode=reflect by 4 of 4"),
        (one("Pad", ("n", 2, 4), np.array([0, 0, -1, 0, 0, 1]), mode="edge"), "mode=edge with pads"),
        (one("Pad", ("n", 2, 4), np.array([1, 0, 0, 0, 0, 0]), mode="edge"), "a batch of another size"),
        (one("Tile", ("n", 4), np.array([2, 1])), "a batch of another size"),
        (one("ReduceMax", ("n", 4), np.array([0, 1])), "a maximum over the batch"),
        (one("Resize", ("n", 1, 4), None, np.array([1, 1, 2], np.float32), mode="cubic"), "mode=cubic"),
        (one("Resize", ("n", 1, 4), None, np.array([2, 1, 2], np.float32)), "a batch of another size"),
        (
            one(
                "Resize",
                ("n", 1, 10),
                None,
                None,
                np.array([12]),
                axes=[2],
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            ),
            "that runtimes round differently",
        ),
        (
            one(
                "Resize",
                ("n", 1, 4),
                None,
                np.array([1, 1, 2], np.float32),
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            "tf_crop_and_resize",
        ),
        (
            one("ConvTranspose", ("n", 1, 4), normal(1, 1, 2), auto_pad="SAME_UPPER"),
            "auto_pad or output_shape",
        ),
        (
            one("GroupNormalization", ("n", 4, 2), normal(2), normal(2), num_groups=2),
            "a scale for each group",
        ),
        (
            one("Resize", ("n", 1, 3), None, np.array([1, 1, 1.3], np.float32)),
            "that change no size",
        ),
        (
            one(
                *("Resize", ("n", 1, 4), None, np.array([1, 1, 1.4], np.float32)),
                coordinate_transformation_mode="align_corners",
                mode="linear",
            ),
            "align_corners to 5.6 places",
        ),
        (one("LRN", ("n", 4, 2, 2), size=2), "size=2"),
        (one("Clip", ("n", 4), opset=10, min=1.0, max=0.0), "ends that cross"),
        (one("ConvTranspose", ("n", 1, 3), normal(1, 1, 2), pads=[2, 2]), "that leave nothing"),
        # onnxruntime takes the largest integer for the end in either direction, ONNX in one alone.
        (
            one("Slice", ("n", 4), *(np.array([each]) for each in (-1, 2**63 - 1, 1, -1))),
            "a step of -1 up to the largest integer",
        ),
        (
            one("Slice", ("n", 4), *(np.array([each]) for each in (-3, -(2**63), 0, -1))),
            "a step of -1 through the batch from -3",
        ),
        (one("GatherND", ("n", 4), np.array([[5]])), "indices outside"),
        (one("Cast", ("n", 4), to=TensorProto.INT64), "cast"),
        (one("Dropout", ("n", 4), np.float32(0.5), np.array(True)), "training_mode=1"),
        (one("BatchNormalization", ("n", 4), *[normal(4)] * 4, training_mode=1), "training_mode=1"),
        (one("BatchNormalization", ("n", 4), *[normal(4)] * 4, opset=7, spatial=0), "spatial=0"),
        (one("AveragePool", ("n", 1, 9), kernel_shape=[2], dilations=[2], opset=19), "dilations=[2]"),
        (
            one("MaxPool", ("n", 1, 9), kernel_shape=[2], dilations=[2], auto_pad="SAME_UPPER"),
            "auto_pad=SAME_UPPER with dilations=[2]",
        ),
        # What onnxruntime cuts off in front, and ONNX's reference pads by 0.
        (
            one("Conv", ("n", 1, 9), normal(1, 1, 1), auto_pad="SAME_UPPER", strides=[5]),
            "auto_pad=SAME_UPPER with strides=[5] past a kernel of [1]",
        ),
        (
            one("Conv", ("n", 1, 8), normal(1, 1, 1), auto_pad="SAME_LOWER", strides=[4]),
            "auto_pad=SAME_LOWER with strides=[4] past a kernel of [1]",
        ),
        (
            one("MaxPool", ("n", 1, 8), kernel_shape=[1], auto_pad="SAME_UPPER", strides=[2]),
            "auto_pad=SAME_UPPER with strides=[2] past a kernel of [1]",
        ),
        (one("AveragePool", ("n", 1, 8), kernel_shape=[2], pads=[0, 2]), "pads=[0, 2] that hold a whole"),
        (one("GlobalAveragePool", ("n", 4)), "images of shape [2, 4]"),
        (one("Expand", ("n", 4), np.array([-1, 4])), "sizes [-1, 4]"),
        (one("Expand", (1, 4), np.array([-1])), "sizes [-1]"),
        (one("LayerNormalization", ("n", 4), normal(4), stash_type=16), "stash_type=16"),
        (
            model(
                [
                    node("ReduceMean", ["x"], ["m"], keepdims=0),
                    node("LayerNormalization", ["m", "s"], ["c"]),
                    node("Add", ["x", "c"], ["y"]),
                ],
                ("n", 4),
                [constant("s", normal(4))],
            ),
            "LayerNormalization (shapes [(), (4,)]",
        ),
        (one("ReduceMean", ("n", 4), noop_with_empty_axes=1), "noop_with_empty_axes=1"),
        (one("Gelu", ("n", 4), opset=20, approximate="sigmoid"), "approximate=sigmoid"),
        (one("Pow", ("n", 4), np.float32(2), first=1), "input 1 that is not constant"),
        (one("Add", ("n", 4), normal(4).astype(np.float64)), "float64"),
        (one("Add", ("n", 4), normal(4).astype(np.float16)), "float16"),
        (one("Relu", ("n", 4), opset=99), "opset 99"),
        (one("Add", ("n", 4), np.array([1, np.nan, 0, 0], np.float32)), "not finite"),
        (one("Gemm", ("n", 4), normal(5, 3)), "shapes"),
        (one("Relu", ("n", "c", 4)), "sizes that are known"),
        (one("Relu", ("n",)), "a batch of images"),
        (one("Relu", ("n", 4), opset=6), "opset 6"),
    ],
)
def test_what_is_not_supported(file: onnx.ModelProto, said: str) -> None:
    assert said in refusal(file)


@pytest.mark.parametrize(
    "file",
    [
        one("Gather", ("n", 4), np.array(0), axis=0),
        one("ReduceMean", ("n", 4)),
        one("Flatten", ("n", 4, 3), axis=2),
        one("Squeeze", (1, 4, 1)),
        one("Expand", (1, 4), np.array([3, 1])),
        model([node("Concat", ["x", "x"], ["y"], axis=0)], ("n", 4)),
    ],
)
def test_an_output_that_is_no_row_for_each_image(file: onnx.ModelProto) -> None:
    assert "logits for each image, the batch first" in refusal(file)


def test_random_numbers() -> None:
    nodes = [node("RandomNormal", [], ["r"], shape=[1, 4]), node("Add", ["x", "r"], ["y"])]
    assert "RandomNormal (random numbers)" in refusal(model(nodes, ("n", 4)))
    nodes = [node("RandomUniformLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    assert "RandomUniformLike (random numbers)" in refusal(model(nodes, ("n", 4)))


BATCH_SIZE = [node("Shape", ["x"], ["sizes"]), node("Slice", ["sizes", "zero", "one"], ["size"])]
NUMBERS = [constant(name, np.array([at])) for at, name in enumerate(("zero", "one", "two"))]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        # A division by the number of images.
        ([node("Cast", ["size"], ["s"], to=1), node("Div", ["x", "s"], ["y"])], "Div (numbers that depend"),
        (
            [
                node("Squeeze", ["size", "zero"], ["scalar"]),
                node("Cast", ["scalar"], ["s"], to=1),
                node("Mul", ["x", "s"], ["y"]),
            ],
            "Mul (numbers that depend",
        ),
        # A batch twice as long, and one longer by one.
        (
            [
                node("Mul", ["size", "two"], ["twice"]),
                node("Concat", ["twice", "one"], ["target"], axis=0),
                node("ReduceMean", ["x", "zero"], ["mean"]),
                node("Expand", ["mean", "target"], ["y"]),
            ],
            "Expand (sizes [4, 6, 10] for batches of [2, 3, 5])",
        ),
        (
            [node("Concat", ["x", "c"], ["a"], axis=0), node("Flatten", ["a"], ["y"])],
            "Concat (sizes [3, 4, 6]",
        ),
        (
            [
                node("Add", ["size", "one"], ["more"]),
                node("ConstantOfShape", ["more"], ["none"]),
                node("MatMul", ["none", "x"], ["y"]),
            ],
            "MatMul (numbers that depend",
        ),
    ],
)
def test_what_depends_on_the_size_of_the_batch(nodes: list[onnx.NodeProto], said: str) -> None:
    assert said in refusal(model([*BATCH_SIZE, *nodes], ("n", 4), [*NUMBERS, constant("c", normal(1, 4))]))


def test_an_output_that_ignores_the_image() -> None:
    file = model([node("Relu", ["c"], ["y"])], ("n", 4), [constant("c", normal(1, 3))])
    assert "does not depend on the input" in refusal(file)


def test_other_peoples_operators_and_loops() -> None:
    file = model([node("FusedGelu", ["x"], ["y"], domain="com.example")], ("n", 4))
    file.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "FusedGelu" in refusal(file)
    body = helper.make_graph([], "body", [], [])
    assert "Loop" in refusal(model([node("Loop", ["", "", "x"], ["y"], body=body)], ("n", 4)))
