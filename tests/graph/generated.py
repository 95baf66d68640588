"""Small graphs of one operator each, its attributes drawn: what a conformance suite runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.graph.graphs import Given, constant, model, normal, one

Made = tuple[onnx.ModelProto, tuple[int, ...]]
"""A file, and the shape of its images."""
Family = Callable[[random.Random], Made]
ints = np.int64


def _window(draw: random.Random, axes: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Kernel, strides, pads or auto_pad, dilations: any, also such as leave gaps or exceed the image."""
    kernel = [draw.randint(1, 4) for _ in range(axes)]
    found: dict[str, Any] = {"kernel_shape": kernel}
    if draw.random() < 0.7:
        found["strides"] = [draw.randint(1, 4) for _ in range(axes)]
    mode = draw.choice(["none", "any", "alike", "VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET"])
    if mode in ("any", "alike"):
        most = max(kernel) if names else min(kernel)
        found["pads"] = [draw.randint(0, most - 1) for _ in range(axes)] * 2
        if mode == "any":
            found["pads"][axes:] = [draw.randint(0, most - 1) for _ in range(axes)]
    elif mode != "none":
        found["auto_pad"] = mode
    if "dilations" in names and draw.random() < 0.4:
        found["dilations"] = [draw.randint(1, 3) for _ in range(axes)]
    return found


def _sizes(draw: random.Random, axes: int, channels: int) -> tuple[int, ...]:
    return (channels, *(draw.randint(2, 9 if axes < 3 else 5) for _ in range(axes)))


def conv(draw: random.Random) -> Made:
    """Convolutions, grouped or not, with a bias or without; also so many channels that layouts change."""
    axes = draw.choice([1, 2, 2, 2, 3])
    group, each = draw.choice([(1, 3), (2, 2), (4, 1), (1, 16), (8, 4)])
    given = _window(draw, axes, ("dilations",))
    weight = normal(group * draw.choice([1, 2, 4]), each, *given["kernel_shape"])
    shape = _sizes(draw, axes, group * each)
    bias = [normal(len(weight))] if draw.random() < 0.5 else []
    opset = draw.choice([7, 11, 13, 18, 22])
    return one("Conv", ("n", *shape), weight, *bias, group=group, opset=opset, **given), shape


def conv_transpose(draw: random.Random) -> Made:
    """Transposed convolutions."""
    axes, group = draw.choice([1, 2, 2, 3]), draw.choice([1, 2])
    given = _window(draw, axes, ("dilations",))
    if given.get("auto_pad", "").startswith("SAME"):
        del given["auto_pad"]
    strides = given.get("strides", [1] * axes)
    if draw.random() < 0.4:
        given["output_padding"] = [draw.randint(0, stride - 1) for stride in strides]
    shape = _sizes(draw, axes, 2 * group)
    weight = normal(2 * group, draw.choice([1, 3]), *given["kernel_shape"])
    bias = [normal(weight.shape[1] * group)] if draw.random() < 0.5 else []
    opset = draw.choice([7, 11, 18, 22])
    return one("ConvTranspose", ("n", *shape), weight, *bias, group=group, opset=opset, **given), shape


def max_pool(draw: random.Random) -> Made:
    """Maxima, with rounding up."""
    axes, opset = draw.choice([1, 2, 2, 3]), draw.choice([7, 8, 10, 11, 12, 18, 22])
    given = _window(draw, axes, ("dilations",) if opset >= 10 else ())
    if opset >= 10 and draw.random() < 0.5:
        given["ceil_mode"] = 1
    shape = _sizes(draw, axes, draw.choice([1, 3, 16]))
    return one("MaxPool", ("n", *shape), opset=opset, **given), shape


def average_pool(draw: random.Random) -> Made:
    """Means, with rounding up, of padding or not."""
    axes, opset = draw.choice([1, 2, 2, 3]), draw.choice([7, 10, 11, 18, 19, 22])
    given = _window(draw, axes, ("dilations",) if opset >= 19 else ())
    if opset >= 10 and draw.random() < 0.5:
        given["ceil_mode"] = 1
    if draw.random() < 0.5:
        given["count_include_pad"] = 1
    shape = _sizes(draw, axes, draw.choice([1, 3, 16]))
    return one("AveragePool", ("n", *shape), opset=opset, **given), shape


def global_pool(draw: random.Random) -> Made:
    """Over all places."""
    shape = _sizes(draw, draw.choice([1, 2, 3]), draw.choice([1, 16]))
    kind = draw.choice(["GlobalAveragePool", "GlobalMaxPool"])
    return one(kind, ("n", *shape), opset=draw.choice([7, 18, 22])), shape


REDUCTIONS = ("Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "Prod")


def reduction(draw: random.Random) -> Made:
    """Over any axes, as attribute or input, kept or not."""
    kind, opset = "Reduce" + draw.choice(REDUCTIONS), draw.choice([7, 11, 12, 13, 18, 20])
    shape = tuple(draw.randint(1, 5) for _ in range(draw.randint(1, 4)))
    rank = len(shape) + 1
    axes = draw.sample(range(1, rank), draw.randint(1, rank - 1))
    axes = [axis - rank if draw.random() < 0.5 and opset >= 11 else axis for axis in axes]
    given: dict[str, Any] = {"keepdims": draw.randint(0, 1)} if draw.random() < 0.7 else {}
    as_input = opset >= (13 if kind == "ReduceSum" else 18)
    inputs = [np.array(axes, ints)] if as_input else []
    given |= {} if as_input else {"axes": axes}
    return one(kind, ("n", *shape), *inputs, opset=opset, **given), shape


def gemm(draw: random.Random) -> Made:
    """With factors, transposed weights, and biases of any shape that broadcasts."""
    inputs, outputs = draw.randint(1, 40), draw.randint(1, 12)
    given: dict[str, Any] = {}
    for name in ("alpha", "beta"):
        if draw.random() < 0.6:
            given[name] = draw.choice([0.0, 0.5, 1.0, -2.0, 3.7])
    trans = draw.random() < 0.5
    weight = normal(outputs, inputs) if trans else normal(inputs, outputs)
    opset = draw.choice([7, 9, 11, 13, 18])
    biases: list[Given] = [normal(outputs), normal(1), normal(1, outputs), normal(1, 1), np.float32(0.3)]
    bias = [draw.choice(biases)] if opset < 11 or draw.random() < 0.8 else []
    if trans:
        given["transB"] = 1
    return one("Gemm", ("n", inputs), weight, *bias, opset=opset, **given), (inputs,)


def matmul(draw: random.Random) -> Made:
    """By a matrix, or by one for each map."""
    inner = draw.randint(1, 9)
    shape = draw.choice([(inner,), (3, inner), (2, 3, inner)])
    weight = normal(2, inner, 4) if len(shape) == 3 and draw.random() < 0.5 else normal(inner, 4)
    return one("MatMul", ("n", *shape), weight, opset=draw.choice([7, 9, 13])), shape


PARAMETERS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "Celu": ("alpha",),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Neg", "Abs", "Sign"), ()),
    **dict.fromkeys(("HardSwish", "Mish", "Exp", "Identity", "Dropout", "Reciprocal"), ()),
}


def activation(draw: random.Random) -> Made:
    """Functions of one value, their parameters drawn."""
    kind = draw.choice(sorted(PARAMETERS))
    given: dict[str, Any] = {
        name: draw.choice([0.1, 0.5, 1.0, 1.5]) for name in PARAMETERS[kind] if draw.random() < 0.7
    }
    opset = max(draw.choice([9, 13, 18, 22]), {"HardSwish": 14, "Mish": 18, "Celu": 12}.get(kind, 9))
    shape = tuple(draw.randint(1, 6) for _ in range(draw.randint(1, 3)))
    return one(kind, ("n", *shape), opset=opset, **given), shape


def slopes(draw: random.Random) -> Made:
    """PRelu with one slope, one for each channel, one for each place."""
    shape = (3, 4, 2)
    slope = draw.choice([normal(1), normal(3, 1, 1), normal(2), normal(3, 4, 2), normal(4, 1)])
    return one("PRelu", ("n", *shape), slope, opset=draw.choice([7, 9, 16])), shape


def clip(draw: random.Random) -> Made:
    """Ends as attributes and as inputs, one or both left out, crossed."""
    opset = draw.choice([7, 10, 11, 12, 13, 18])
    ends = [draw.choice([None, -0.5, 0.0, 0.3, 6.0]) for _ in range(2)]
    if opset < 11:
        given: dict[str, Any] = {
            name: end for name, end in zip(("min", "max"), ends, strict=True) if end is not None
        }
        return one("Clip", ("n", 9), opset=opset, **given), (9,)
    inputs = [None if end is None else np.float32(end) for end in ends]
    while inputs and inputs[-1] is None:
        inputs.pop()
    return one("Clip", ("n", 9), *inputs, opset=opset), (9,)


def softmax(draw: random.Random) -> Made:
    """Over one axis, and over all from one on before opset 13."""
    shape = tuple(draw.randint(1, 5) for _ in range(draw.randint(1, 3)))
    given: dict[str, Any] = (
        {"axis": draw.randint(1, len(shape))} if draw.random() < 0.8 or len(shape) != 1 else {}
    )
    kind = draw.choice(["Softmax", "LogSoftmax"])
    return one(kind, ("n", *shape), opset=draw.choice([7, 11, 12, 13, 18]), **given), shape


def normalisation(draw: random.Random) -> Made:
    """By stored statistics, by those of a channel, a group, a layer, of channels nearby."""
    channels = draw.choice([2, 4, 6])
    shape = (channels, *(draw.randint(1, 4) for _ in range(draw.choice([1, 2, 2, 3]))))
    kind = draw.choice(["Batch", "Instance", "Group", "Layer", "LRN"])
    given: dict[str, Any] = {"epsilon": draw.choice([1e-5, 1e-3])} if draw.random() < 0.5 else {}
    scale, bias = normal(channels), normal(channels, seed=1)
    if kind == "LRN":
        sizes: dict[str, Any] = {"size": draw.randint(1, 5), "alpha": draw.choice([1e-4, 0.5]), "bias": 2.0}
        return one("LRN", ("n", *shape[:1], 3, 4), **sizes), (channels, 3, 4)
    if kind == "Layer":
        axis = draw.randint(1, len(shape))
        tail = shape[axis - 1 :]
        return one("LayerNormalization", ("n", *shape), normal(*tail), axis=axis, **given), shape
    if kind == "Batch":
        statistics = (scale, bias, normal(channels, seed=2), np.abs(scale) + np.float32(0.1))
        opset = draw.choice([7, 9, 14, 15])
        return one("BatchNormalization", ("n", *shape), *statistics, opset=opset, **given), shape
    if kind == "Instance":
        return one("InstanceNormalization", ("n", *shape), scale, bias, **given), shape
    given |= {"num_groups": draw.choice([1, 2, channels]), "opset": 21}
    return one("GroupNormalization", ("n", *shape), scale, bias, **given), shape


def pad(draw: random.Random) -> Made:
    """Each mode, cut off too, all axes or some."""
    shape, mode = (
        (draw.randint(1, 3), draw.randint(3, 5), draw.randint(3, 5)),
        draw.choice(["constant", "reflect", "edge", "wrap"]),
    )
    opset = draw.choice([7, 10, 11, 13, 18, 19, 21])
    mode = "constant" if mode == "wrap" and opset < 19 else mode
    low = -1 if mode == "constant" else 0
    ends = [draw.randint(low, 2) for _ in range(4)]
    pads = [0, 0, *ends[:2], 0, 0, *ends[2:]]
    if opset < 11:
        return one("Pad", ("n", *shape), opset=opset, pads=pads, mode=mode, value=0.5), shape
    value = [np.float32(draw.choice([0.0, -1.5]))] if mode == "constant" and draw.random() < 0.6 else []
    if opset >= 18 and draw.random() < 0.5:
        inputs = [np.array(ends, ints), value[0] if value else None, np.array([-2, 3], ints)]
        return one("Pad", ("n", *shape), *inputs, opset=opset, mode=mode), shape
    return one("Pad", ("n", *shape), np.array(pads, ints), *value, opset=opset, mode=mode), shape


def resize(draw: random.Random) -> Made:
    """Nearest and linear, by scales or sizes, every rule for coordinates."""
    shape, opset = (2, draw.randint(2, 6), draw.randint(2, 6)), draw.choice([10, 11, 13, 18, 19])
    given: dict[str, Any] = {"mode": draw.choice(["nearest", "linear"])}
    if opset == 10:
        scales = np.array([1, 1, draw.choice([0.5, 1, 2, 3]), draw.choice([1, 1.5, 2])], np.float32)
        return one("Resize", ("n", *shape), scales, opset=opset, **given), shape
    given["coordinate_transformation_mode"] = draw.choice(
        ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    )
    if given["mode"] == "nearest":
        given["nearest_mode"] = draw.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    roi = np.array([], np.float32)
    if draw.random() < 0.5 or opset < 18:
        scales = np.array([1, 1, draw.choice([0.5, 2, 3, 1.3]), draw.choice([1, 2, 4])], np.float32)
        return one("Resize", ("n", *shape), roi, scales, opset=opset, **given), shape
    sizes = np.array([draw.randint(1, 9), draw.randint(1, 9)], ints)
    return one("Resize", ("n", *shape), None, None, sizes, opset=opset, axes=[2, 3], **given), shape


def upsample(draw: random.Random) -> Made:
    """What Resize was before opset 10."""
    shape, opset = (2, draw.randint(2, 5), draw.randint(2, 5)), draw.choice([7, 8, 9])
    scales, mode = (
        [1.0, 1.0, draw.choice([1.0, 2.0, 3.0]), draw.choice([2.0, 1.5])],
        draw.choice(["nearest", "linear"]),
    )
    if opset < 9:
        return one("Upsample", ("n", *shape), opset=opset, scales=scales, mode=mode), shape
    return one("Upsample", ("n", *shape), np.array(scales, np.float32), opset=opset, mode=mode), shape


def slicing(draw: random.Random) -> Made:
    """Parts, steps in both directions, ends beyond the value."""
    shape, opset = (4, 5, 6), draw.choice([9, 10, 11, 13])
    axes = draw.sample([1, 2, 3], draw.randint(1, 3))
    starts = [draw.randint(-8, 8) for _ in axes]
    ends = [draw.choice([draw.randint(-8, 8), 2**31 - 1, -(2**31)]) for _ in axes]
    if opset == 9:
        return one("Slice", ("n", *shape), opset=opset, axes=axes, starts=starts, ends=ends), shape
    steps = [draw.choice([1, 2, -1, -2, 3]) for _ in axes]
    inputs = [np.array(each, ints) for each in (starts, ends, axes, steps)]
    return one("Slice", ("n", *shape), *inputs, opset=opset), shape


def moving(draw: random.Random) -> Made:
    """What only moves values."""
    shape = (4, 6, 2)
    perm = [0, *draw.sample([1, 2, 3], 3)]
    repeats = np.array([1, *(draw.randint(1, 3) for _ in range(3))], ints)
    index = np.array([draw.randint(-2, 1) for _ in range(4)], ints).reshape(draw.choice([(4,), (2, 2)]))
    made: list[Made] = [
        (one("Transpose", ("n", *shape), perm=perm), shape),
        (one("Flatten", ("n", *shape), axis=1), shape),
        (
            one("Reshape", ("n", *shape), np.array(draw.choice([[0, -1], [-1, 48], [0, 2, 2, -1]]), ints)),
            shape,
        ),
        (one("Unsqueeze", ("n", *shape), np.array(draw.choice([[1], [-1, 2], [4]]), ints)), shape),
        (one("Unsqueeze", ("n", *shape), opset=11, axes=draw.choice([[1], [2, 3]])), shape),
        (one("Squeeze", ("n", 3, 1, 1), np.array(draw.choice([[2], [-1, 2]]), ints)), (3, 1, 1)),
        (one("Squeeze", ("n", 3, 1, 1), opset=11, axes=[2]), (3, 1, 1)),
        (one("Tile", ("n", *shape), repeats), shape),
        (one("DepthToSpace", ("n", *shape), blocksize=2, mode=draw.choice(["DCR", "CRD"])), shape),
        (one("SpaceToDepth", ("n", *shape), blocksize=2), shape),
        (one("Gather", ("n", *shape), index, axis=draw.choice([1, 2, 3, -1])), shape),
        (
            one(
                "Expand",
                ("n", 4, 1, 2),
                np.array(draw.choice([[1, 1, 5, 1], [3, 1], [1], [1, 4, 1, 2]]), ints),
            ),
            (4, 1, 2),
        ),
        (one("Trilu", ("n", *shape), np.array(draw.randint(-2, 2), ints), upper=draw.randint(0, 1)), shape),
        (
            one(
                "CumSum",
                ("n", *shape),
                np.array(draw.choice([1, 3, -1]), ints),
                reverse=draw.randint(0, 1),
                exclusive=draw.randint(0, 1),
            ),
            shape,
        ),
        (one("Concat", ("n", *shape), axis=draw.choice([1, -1])), shape),
    ]
    return draw.choice(made)


def of_two(draw: random.Random) -> Made:
    """The four operations and extremes with a constant that broadcasts."""
    kind = draw.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"])
    shape = (3, 4, 2)
    if kind == "Pow":
        power = np.float32(draw.choice([2, 3]))
        return one(kind, ("n", *shape), power, opset=draw.choice([7, 13])), shape
    sizes: tuple[int, ...] = draw.choice([(3, 4, 2), (4, 1), (1, 3, 1, 1), (1,), ()])
    other = normal(*sizes) if kind != "Div" else normal(*sizes) + np.float32(3)
    opset = draw.choice([8, 13, 14])
    return one(kind, ("n", *shape), np.float32(other), opset=opset, first=draw.choice([0, 0, 1])), shape


def comparison(draw: random.Random) -> Made:
    """Comparisons, what is made of them, and choices by them."""
    kind = draw.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])
    opset = draw.choice([16, 18, 19])
    nodes = [
        helper.make_node(kind, ["x", "c"], ["a"]),
        helper.make_node(draw.choice(["Less", "Greater"]), ["x", "d"], ["b"]),
        helper.make_node(draw.choice(["And", "Or"]), ["a", "b"], ["e"]),
        helper.make_node("Not", ["e"], ["f"]),
        helper.make_node("Cast", [draw.choice(["a", "e", "f"])], ["g"], to=1),
        helper.make_node("Where", [draw.choice(["a", "f"]), "x", draw.choice(["g", "d", "c"])], ["h"]),
        helper.make_node("Mul", ["g", "h"], ["y"]),
    ]
    other = draw.choice([normal(4, 2), normal(3, 1, 1)])
    constants = [constant("c", np.float32(draw.choice([0.0, 0.3]))), constant("d", other)]
    return model(nodes, ("n", 3, 4, 2), constants, opset), (3, 4, 2)


FAMILIES: dict[str, tuple[Family, int]] = {
    "Conv": (conv, 60),
    "ConvTranspose": (conv_transpose, 30),
    "MaxPool": (max_pool, 60),
    "AveragePool": (average_pool, 60),
    "global pooling": (global_pool, 8),
    "reductions": (reduction, 60),
    "Gemm": (gemm, 40),
    "MatMul": (matmul, 10),
    "activations": (activation, 50),
    "PRelu": (slopes, 12),
    "Clip": (clip, 20),
    "Softmax": (softmax, 24),
    "normalisation": (normalisation, 40),
    "Pad": (pad, 40),
    "Resize": (resize, 60),
    "Upsample": (upsample, 12),
    "Slice": (slicing, 24),
    "moving": (moving, 60),
    "of two": (of_two, 40),
    "comparisons": (comparison, 20),
}
"""By name a family, and how many of it."""
