"""A digest of what a graph computes, whatever its values are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor

from harden.graph.operation_graph import Graph, Node
from harden.graph.operators.affine_layers import Gemm, MatMul
from harden.graph.operators.arithmetic import Add, Div, Mul, Sub
from harden.graph.operators.reshaping import Reshape


def structure_digest(graph: Graph) -> str:
    """SHA-256 over operations, attributes and constants, from the input on; names and order do not enter.

    Each value's digest is made of its operation's and of those of its inputs (a Merkle tree). What computes
    the same numbers counts as the same: sums and products of two values in either order, a reshaping to the
    shape that a value has, a sum with 0 and a product with 1, a weight that is stored transposed, and a
    product by a matrix followed by a constant offset, which onnxruntime takes for one Gemm: bounds take both
    for one sum.
    """
    digests = {graph.input.name: _hash("input", str(graph.input.shape))}
    shapes = {graph.input.name: graph.input.shape, **{node.output: node.shape for node in graph.nodes}}
    for name, each in graph.constants.items():
        digests[name] = _constant(each)
    products: dict[str, tuple[str, Tensor]] = {}
    for node in graph.nodes:
        digests[node.output] = _of_node(node, graph.constants, digests, shapes, products)
    return digests[graph.output.name]


def _of_node(
    node: Node,
    constants: Mapping[str, Tensor],
    digests: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    products: dict[str, tuple[str, Tensor]],
) -> str:
    operation, names = node.operation, node.inputs
    inputs = [digests[name] for name in names]
    if shapes.get(names[0]) == node.shape and _keeps(node, constants):
        return inputs[0]
    matrix = constants.get(names[1]) if isinstance(operation, MatMul | Gemm) else None
    if matrix is not None and matrix.dim() == 2 and names[0] not in constants and len(node.shape) == 2:
        if isinstance(operation, MatMul):
            products[node.output] = (inputs[0], matrix)
            return _gemm(inputs[0], matrix, None)
        if isinstance(operation, Gemm) and (operation.alpha, operation.trans_a) == (1.0, False):
            matrix = matrix.mT if operation.trans_b else matrix
            if len(names) == 2:
                products[node.output] = (inputs[0], matrix)
                return _gemm(inputs[0], matrix, None)
            if operation.beta == 1.0 and names[2] in constants:
                return _gemm(inputs[0], matrix, constants[names[2]])
    if isinstance(operation, Add):
        for product, other in (names, names[::-1]):
            if product in products and other in constants and constants[other].numel() == node.shape[-1]:
                return _gemm(*products[product], constants[other])
    if isinstance(operation, Add | Mul):
        inputs.sort()
    return _hash(repr(operation), str(node.shape), *inputs)


def _keeps(node: Node, constants: Mapping[str, Tensor]) -> bool:
    """True if a node whose output has its first input's shape gives its numbers: y = x, x + 0 or 1 x."""
    if isinstance(node.operation, Reshape):
        return True
    other = constants.get(node.inputs[-1])
    if other is None or len(node.inputs) != 2:
        return False
    if isinstance(node.operation, Add | Sub):
        return bool((other == 0).all())
    return isinstance(node.operation, Mul | Div) and bool((other == 1).all())


def _gemm(x: str, matrix: Tensor, bias: Tensor | None) -> str:
    parts = (x, _constant(matrix), "" if bias is None else _constant(bias.flatten()))
    return _hash("product by a matrix", *parts)


def _constant(value: Tensor) -> str:
    content = value.detach().cpu().contiguous().numpy().tobytes()
    return _hash("constant", str(tuple(value.shape)), str(value.dtype), hashlib.sha256(content).hexdigest())


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
