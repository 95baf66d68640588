"""The batch axis moved to the front, where an exporter indexed with the batch behind."""

from __future__ import annotations

import math
from dataclasses import replace

from harden.graph.operation_graph import BATCH, Graph, Node, Operation
from harden.graph.operators.indexing import Gather, GatherND
from harden.graph.operators.reshaping import Reshape, Transpose

Shape = tuple[int, ...]
_Moved = list[tuple[Operation, Shape]]


def batch_first(graph: Graph) -> Graph:
    """The same graph with each GatherND between two transpositions as a Gather, the batch in front.

    So torch exports x[:, :, rows, columns]: the dimensions that are indexed come first, the batch behind
    them, and an image would be no row of the value. Values are moved alone, so both compute the same.
    """
    makers = {node.output: node for node in graph.nodes}
    shapes = {graph.input.name: graph.input.shape, **{node.output: node.shape for node in graph.nodes}}
    taken = {*shapes, *graph.constants}
    nodes: list[Node] = []
    for last in graph.nodes:
        middle = makers.get(last.inputs[0])
        first = None if middle is None else makers.get(middle.inputs[0])
        if middle is None or first is None:
            nodes.append(last)
            continue
        moved = _moved(first.operation, middle.operation, last.operation, shapes.get(first.inputs[0], ()))
        given = first.inputs[0]
        for at, (operation, shape) in enumerate(moved):
            output = last.output if at == len(moved) - 1 else _fresh(last.output, taken)
            nodes.append(Node(operation, (given,), output, shape, middle.name, middle.kind))
            given = output
        if not moved:
            nodes.append(last)
    return replace(graph, nodes=_needed(nodes, graph.output.name))


def _moved(first: Operation, middle: Operation, last: Operation, shape: Shape) -> _Moved:
    """Operations, with their shapes, that compute the same as all three; none for another pattern."""
    if not (isinstance(first, Transpose) and isinstance(middle, GatherND) and isinstance(last, Transpose)):
        return []
    indexed, kept = first.perm[: middle.depth], first.perm[middle.depth :]
    rest = tuple(axis for axis in kept if axis)
    if shape[:1] != (BATCH,) or 0 in indexed:
        return []
    before = (0, *rest, *indexed)
    flat = (BATCH, *(shape[axis] for axis in rest), math.prod(shape[axis] for axis in indexed))
    found: _Moved = []
    if before != tuple(range(len(shape))):
        found.append((Transpose(before), tuple(shape[axis] for axis in before)))
    found.append((Reshape(flat), flat))
    gathered = (*flat[:-1], *middle.shape)
    found.append((Gather(len(flat) - 1, middle.places, middle.shape), gathered))
    # Where each dimension of what GatherND gives, the places' and then those kept, lies now.
    places = tuple(len(flat) - 1 + at for at in range(len(middle.shape)))
    now = (*places, *(1 + rest.index(axis) if axis else 0 for axis in kept))
    after = tuple(now[axis] for axis in last.perm)
    if after[0] != 0:
        return []
    if after != tuple(range(len(gathered))):
        found.append((Transpose(after), tuple(gathered[axis] for axis in after)))
    return found


def _fresh(name: str, taken: set[str]) -> str:
    name = f"{name}.before"
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _needed(nodes: list[Node], output: str) -> tuple[Node, ...]:
    """Those that the output is computed from."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
