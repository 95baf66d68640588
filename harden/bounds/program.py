"""Bound programs: a graph with a bound rule for each of its operations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size
from harden.bounds.rules import (
    BOUND_RULES,
    Affine,
    OperationInputs,
    Pooling,
    Rule,
    one_sum,
    with_offset,
)
from harden.errors import InputError
from harden.graph import Graph, Node, mixing
from harden.graph.operators.affine_layers import Conv, Gemm, MatMul
from harden.graph.operators.arithmetic import Add
from harden.graph.operators.reshaping import Reshape


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProgramStep:
    """One operation with its rule.

    Args:
        name: of its output.
        rule: its bound rule.
        inputs: names of the values that it takes; constants are in the rule.
        size: of the output, without the batch.
    """

    name: str
    rule: Rule
    inputs: tuple[str, ...]
    size: Size


@final
@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The steps from the images to the logits.

    Args:
        input: the images' name.
        size: theirs, without the batch.
        steps: each after what it needs.
        output: the logits' name.
        bent: names of the values that go into a function that is not affine: what tight bounds pay for.
    """

    input: str
    size: Size
    steps: tuple[ProgramStep, ...]
    output: str
    bent: frozenset[str]

    @classmethod
    def of(
        cls,
        graph: Graph,
        constants: Mapping[str, Tensor] | None = None,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Program:
        """The rules of a graph's operations, on its own constants or on others.

        Raises:
            InputError: an operation has no sound rule, or mixes the images of a batch; all are named.
        """
        if constants is None and graph.rounded:
            raise InputError(
                f"constants that each runtime rounds its own way ({', '.join(sorted(graph.rounded)[:3])})",
                "weights that are in the file as numbers",
                "fold the file's constants (onnxruntime's offline optimisation does), and bound that file",
            )
        weights = graph.constants if constants is None else constants
        weights = {name: each.to(device=device, dtype=dtype) for name, each in weights.items()}
        like = torch.zeros((), dtype=dtype, device=device)
        sizes: dict[str, Size] = {graph.input.name: graph.input.shape[1:]}
        steps: dict[str, ProgramStep] = {}
        refused: list[tuple[Node, str]] = []
        layers = _Layers(graph, steps, sizes)
        mixed = {node.output for node in mixing(graph)}
        for node in graph.nodes:
            sizes[node.output] = node.shape[1:]
            try:
                if node.output in mixed:
                    raise _NoRuleError("the images of a batch may depend on each other")
                step = _step(node, weights, sizes, like)
                if isinstance(node.operation, Add):
                    step = layers.one_sum(node, step, weights)
            except _NoRuleError as reason:
                refused.append((node, str(reason)))
            else:
                steps[node.output] = step
        if refused:
            raise _refusal(refused)
        bent = frozenset(
            name for step in steps.values() if not isinstance(step.rule, Affine) for name in step.inputs
        )
        return cls(graph.input.name, graph.input.shape[1:], tuple(steps.values()), graph.output.name, bent)

    @property
    def logits(self) -> Size:
        """The output's size, without the batch: all others go into it, so it comes last."""
        return self.steps[-1].size if self.steps else self.size

    @property
    def classes(self) -> int:
        """The number of logits."""
        return math.prod(self.logits)

    def until(self, name: str) -> tuple[ProgramStep, ...]:
        """The steps up to the one that gives a value."""
        for number, step in enumerate(self.steps):
            if step.name == name:
                return self.steps[: number + 1]
        return ()


@final
@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer with weights: its rule, the value that it reads, and the steps that give its output."""

    rule: Affine
    input: str
    steps: tuple[str, ...]


@final
class _Layers:
    """Layers whose output one sum alone reads: a runtime may compute both as one."""

    def __init__(self, graph: Graph, steps: dict[str, ProgramStep], sizes: Mapping[str, Size]) -> None:
        self._steps, self._sizes = steps, sizes
        self._nodes = {node.output: node for node in graph.nodes}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._readers[graph.output.name] += 1

    def one_sum(self, node: Node, step: ProgramStep, weights: Mapping[str, Tensor]) -> ProgramStep:
        """The step of a sum together with such layers, whose own steps go.

        Raises:
            _NoRuleError: the layers have different factors.
        """
        found = [self._layer(name, step.size) for name in step.inputs]
        layers = [layer for layer in found if layer is not None]
        if not layers:
            return step
        values = zip(step.inputs, found, strict=True)
        inputs = tuple(name if layer is None else layer.input for name, layer in values)
        if len(step.inputs) == 1:
            (constant,) = (weights[name] for name in node.inputs if name not in step.inputs)
            rule: Affine | None = with_offset(layers[0].rule, constant)
        else:
            rules = [None if layer is None else layer.rule for layer in found]
            rule = one_sum(rules, tuple(self._sizes[name] for name in inputs), step.size)
        if rule is None:
            raise _NoRuleError("a sum of layers with different factors")
        for layer in layers:
            for name in layer.steps:
                del self._steps[name]
        return ProgramStep(step.name, rule, inputs, step.size)

    def _layer(self, name: str, size: Size) -> _Layer | None:
        """The layer that gives a value of a size to one reader, itself or under another name."""
        gone: list[str] = []
        while self._readers[name] == 1 and name in self._steps:
            step, operation = self._steps[name], self._nodes[name].operation
            gone.append(name)
            if isinstance(operation, Conv | Gemm | MatMul):
                if isinstance(step.rule, Affine) and step.size == size and len(step.inputs) == 1:
                    return _Layer(step.rule, step.inputs[0], tuple(gone))
                return None
            if not isinstance(operation, Reshape) or self._sizes[step.inputs[0]] != step.size:
                return None
            (name,) = step.inputs
        return None


class _NoRuleError(Exception):
    """An operation that cannot be bounded, and why: collected, so that one error names all."""


def _step(node: Node, weights: Mapping[str, Tensor], sizes: Mapping[str, Size], like: Tensor) -> ProgramStep:
    """The step of a node.

    Raises:
        _NoRuleError: its operation has no bound rule, or none for its attributes and inputs.
    """
    row = BOUND_RULES.get(type(node.operation))
    if row is None:
        raise _NoRuleError(f"operation {type(node.operation).__name__} has no bound rule")
    constants = tuple(None if name in sizes else weights[name] for name in node.inputs)
    names = tuple(name for name in node.inputs if name in sizes)
    size = sizes[node.output]
    rule = row.derive(
        node.operation, OperationInputs(constants, tuple(sizes[name] for name in names), size, like)
    )
    if rule is None or (not isinstance(rule, Affine | Pooling) and len(names) != 1):
        raise _NoRuleError("its bound rule does not hold for these attributes and inputs")
    return ProgramStep(node.output, rule, names, size)


def _refusal(refused: list[tuple[Node, str]]) -> InputError:
    named: dict[tuple[str, str], list[str]] = {}
    for node, reason in refused:
        named.setdefault((node.kind, reason), []).append(node.name)
    shown = ", ".join(
        f"{kind} ({names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {reason})"
        for (kind, reason), names in sorted(named.items())
    )
    return InputError(
        f"operations without a sound bound: {shown}",
        "affine operations with constant weights, rectifiers, sigmoid, tanh, erf, GELU, max pooling",
        "evaluate the model by attacks instead (harden evaluate); they need no bounds",
    )
