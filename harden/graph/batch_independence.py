"""Independence of the images of a batch, which bounds and other batch sizes rely on.

A file may do anything with its batch: reverse it, subtract the first image from all, normalise over it. It
then runs without error, and a statement about image i holds only in the batch that it was measured in.
"""

from __future__ import annotations

from harden.graph.batch_rules import Shape, follows_batch
from harden.graph.operation_graph import Graph, Node
from harden.graph.operator_table import BATCH_RULES


def mixing(graph: Graph) -> tuple[Node, ...]:
    """The nodes that are not known to keep the images of a batch apart; none is a guarantee.

    Guarantee when there is none: each value is (N, ...), its row i depends on image i alone, and in the same
    way for every i. It follows from the operations and their attributes, node by node, not from trying.
    """
    shapes = {graph.input.name: graph.input.shape}
    shapes.update({node.output: node.shape for node in graph.nodes})
    constants = {name: tuple(each.shape) for name, each in graph.constants.items()}
    return tuple(node for node in graph.nodes if not _apart(node, shapes, constants))


def _apart(node: Node, shapes: dict[str, Shape], constants: dict[str, Shape]) -> bool:
    values = [shapes[name] for name in node.inputs if name in shapes]
    if not all(_batch_first(shape) for shape in (*values, node.shape)):
        return False
    rule = BATCH_RULES.get(type(node.operation))
    given = [shapes[name] if name in shapes else constants[name] for name in node.inputs]
    return rule is not None and rule(node, given)


def _batch_first(shape: Shape) -> bool:
    return follows_batch(shape) and all(size >= 0 for size in shape[1:])
