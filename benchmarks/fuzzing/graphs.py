"""Mutations of ONNX graphs that still parse: hostile tensors, operators, control flow, functions, files."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fuzzing.mutations import INTEGERS, Mutated

_INT64 = [value for value in INTEGERS if -(2**63) <= value < 2**63]
_OPERATORS = (
    "NoSuchOperator",
    "Identity",
    "Neg",
    "Flatten",
    "Loop",
    "Tile",
    "Resize",
    "Dropout",
    "Multinomial",
    "",
)


def graph_edit(data: bytes, draw: random.Random) -> Mutated:
    """One change to a parsed model; written out again as bytes."""
    model = onnx.ModelProto()
    model.ParseFromString(data)
    edit = draw.choice(_EDITS)
    edit(model, draw)
    return f"onnx {edit.__name__.strip('_')}", model.SerializeToString(deterministic=True)


def _tensor(model: onnx.ModelProto, draw: random.Random) -> TensorProto:
    tensor: TensorProto = draw.choice(model.graph.initializer)
    return tensor


def _dims(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = _tensor(model, draw)
    if tensor.dims and draw.random() < 0.7:
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(_INT64)
    else:
        tensor.dims.extend([draw.choice(_INT64)] * draw.choice((1, 8)))


def _empty_and_huge(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = _tensor(model, draw)
    tensor.ClearField("raw_data")
    for at in range(len(tensor.dims)):
        tensor.dims[at] = draw.choice((2**20, 2**31, 2**40))


def _dtype(model: onnx.ModelProto, draw: random.Random) -> None:
    _tensor(model, draw).data_type = draw.randrange(0, 30)


def _raw(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = _tensor(model, draw)
    raw = bytearray(tensor.raw_data)
    if raw and draw.random() < 0.8:
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    else:
        raw = raw[:-1] if draw.random() < 0.5 else raw * 3
    tensor.raw_data = bytes(raw)


def _external(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = _tensor(model, draw)
    if draw.random() < 0.3:
        node = model.graph.node.add(op_type="Constant", output=[tensor.name])
        node.attribute.append(helper.make_attribute("value", tensor))
        model.graph.initializer.remove(tensor)
        tensor = node.attribute[0].t
        model.graph.node.insert(0, node)
        del model.graph.node[-1]
        tensor = model.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    places = (
        "evidence.npz",
        "../artefact/evidence.npz",
        "/etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "",
        "a\0b",
        "//x",
    )
    for key, value in (
        ("location", draw.choice(places)),
        ("offset", str(draw.choice(INTEGERS))),
        ("length", str(draw.choice(INTEGERS))),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _operator(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice(model.graph.node)
    if draw.random() < 0.7:
        node.op_type = draw.choice(_OPERATORS)
    else:
        node.domain = draw.choice(("com.microsoft", "nothing", "ai.onnx.ml", "ai.onnx.training"))


def _wires(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice(model.graph.node)
    names = [name for other in model.graph.node for name in (*other.input, *other.output)] + ["", "missing"]
    wires = draw.choice((node.input, node.output))
    if wires and draw.random() < 0.7:
        wires[draw.randrange(len(wires))] = draw.choice(names)
    else:
        wires.extend([draw.choice(names)] * draw.choice((1, 50)))


def _attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice([node for node in model.graph.node if node.attribute] or list(model.graph.node))
    if not node.attribute:
        node.attribute.append(helper.make_attribute("axis", draw.choice(_INT64)))
        return
    attribute = draw.choice(node.attribute)
    if attribute.ints and draw.random() < 0.7:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(_INT64)
    elif draw.random() < 0.5:
        attribute.i = draw.choice(_INT64)
    elif draw.random() < 0.5:
        attribute.type = draw.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 13))
    else:
        attribute.name = draw.choice(("", "pads", "nothing", "group"))


def _ports(model: onnx.ModelProto, draw: random.Random) -> None:
    port = draw.choice((model.graph.input, model.graph.output))[0]
    if draw.random() < 0.3:
        port.name = draw.choice(("", "image", "logits", "x"))
    elif draw.random() < 0.3:
        port.type.tensor_type.elem_type = draw.randrange(0, 20)
    elif draw.random() < 0.3:
        port.type.tensor_type.ClearField("shape")
    else:
        dims = port.type.tensor_type.shape.dim
        dim = draw.choice(dims)
        dim.dim_value = draw.choice(_INT64)
        if draw.random() < 0.3:
            dim.dim_param = "free"
        if draw.random() < 0.2:
            del dims[-1]


def _opset(model: onnx.ModelProto, draw: random.Random) -> None:
    if draw.random() < 0.5:
        model.opset_import[0].version = draw.choice((*_INT64, 1, 7, 13, 17, 21, 99))
    else:
        model.ir_version = draw.choice((*_INT64, 3, 8, 99))


def _order(model: onnx.ModelProto, draw: random.Random) -> None:
    nodes = list(model.graph.node)
    draw.shuffle(nodes)
    if draw.random() < 0.5:
        nodes = nodes[:-1] if draw.random() < 0.5 else nodes * 2
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _before_the_end(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Let the image go through nodes that take `image` and give `seen` first."""
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            if name == "image":
                node.input[at] = "seen"
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])


def _loop(model: onnx.ModelProto, draw: random.Random) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Relu", ["a"], ["b"])],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("a", TensorProto.FLOAT, None),
        ],
        [info("still", TensorProto.BOOL, []), info("b", TensorProto.FLOAT, None)],
    )
    turns = numpy_helper.from_array(np.array(draw.choice((1, 2**31, 2**62))), "turns")
    model.graph.initializer.append(turns)
    _before_the_end(model, [helper.make_node("Loop", ["turns", "", "image"], ["seen"], body=body)])


def _functions(model: onnx.ModelProto, draw: random.Random) -> None:
    """Functions that call the one below twice: 2^n nodes from n; or one that calls itself."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    depth, below = draw.choice((2, 9, 14, 24, 40)), ""
    for level in range(depth):
        calls = [helper.make_node("Relu", ["a"], ["b"])]
        if below:
            calls = [helper.make_node(below, [x], [y], domain="d") for x, y in (("a", "c"), ("c", "b"))]
        below = f"F{level}"
        model.functions.append(helper.make_function("d", below, ["a"], ["b"], calls, opsets))
    if draw.random() < 0.2:
        model.functions[0].node[0].op_type, model.functions[0].node[0].domain = below, "d"
    model.opset_import.append(opsets[1])
    _before_the_end(model, [helper.make_node(below, ["image"], ["seen"], domain="d")])


def _swell(model: onnx.ModelProto, draw: random.Random) -> None:
    """A large tensor out of a small file: its sum, times nothing, is added to the image."""
    number = draw.choice((2**24, 2**24, 2**31, 2**36, 2**40, 2**50, 2**60, 2**26))
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    size = numpy_helper.from_array(np.array([number]), "size")
    model.graph.initializer.extend([one, size, numpy_helper.from_array(np.zeros(1, np.float32), "nothing")])
    made = helper.make_node("ConstantOfShape", ["size"], ["large"], value=one)
    if draw.random() < 0.5:
        made = helper.make_node("Expand", ["one", "size"], ["large"])
    nodes = [made, helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=1)]
    nodes += [helper.make_node("Mul", ["sum", "nothing"], ["zero"])]
    _before_the_end(model, [*nodes, helper.make_node("Add", ["image", "zero"], ["seen"])])


def _sparse(model: onnx.ModelProto, draw: random.Random) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "thin")
    indices = numpy_helper.from_array(np.array([draw.choice((0, -1, 2**40))]), "where")
    thin = helper.make_sparse_tensor(values, indices, [draw.choice((4, 2**31, 2**40))])
    model.graph.sparse_initializer.append(thin)


def _words(model: onnx.ModelProto, draw: random.Random) -> None:
    """Change metadata that affects no result: names, notes, producer."""
    model.doc_string = model.graph.doc_string = model.producer_name = "x" * draw.randrange(1, 50)
    draw.choice(model.graph.node).name = "y"


_EDITS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(_dims, _empty_and_huge, _dtype, _raw, _raw, _raw, _external, _operator, _wires, _wires, _attribute),
    *(_attribute, _ports, _opset, _order, _loop, _functions, _swell, _sparse, _words),
)
