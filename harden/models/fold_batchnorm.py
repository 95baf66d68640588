"""Folding of BatchNorms into the linear layer before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@final
@dataclass(frozen=True, slots=True)
class FoldablePair:
    """A linear layer and the BatchNorm that its output goes to, by their names in the network."""

    layer: str
    norm: str


def find_pairs(network: nn.Module, forward: Callable[[], Tensor]) -> tuple[FoldablePair, ...]:
    """Find foldable layers by recording one forward and its graph, independent of the Python code between.

    A pair is a convolution or linear layer and a BatchNorm with running statistics, in inference mode, that
    run once each, where the BatchNorm is the only reader of the layer's output.

    Args:
        network: in inference mode; not changed.
        forward: runs it once, with gradients, and returns an output that depends on an input that requires
            one.
    """
    record = _ForwardRecord()
    with record.recording(network):
        answer = forward()
    readers = _readers(answer)
    return tuple(
        FoldablePair(layer, norm)
        for layer, norm, node in record.pairs
        if record.runs[layer] == record.runs[norm] == 1 and readers[node] == 1
    )


@torch.no_grad()
def fold_(target: nn.Module, source: nn.Module, pairs: Sequence[FoldablePair]) -> None:
    """Write the folded layers and BatchNorms of `source` into the layers of `target`.

    W' = W g / sqrt(v + e) and b' = (b - m) g / sqrt(v + e) + t, for mean m, variance v, weight g and bias t.
    The BatchNorms of `target` become identities. `source` is not changed; `target` may be folded already.
    """
    for pair in pairs:
        layer, norm = source.get_submodule(pair.layer), source.get_submodule(pair.norm)
        weight, bias = _folded(layer, norm)
        folded: Any = target.get_submodule(pair.layer)
        folded.weight.copy_(weight)
        if folded.bias is None:
            folded.bias = nn.Parameter(bias.to(folded.weight.dtype), requires_grad=False)
        else:
            folded.bias.copy_(bias)
        parent, _, name = pair.norm.rpartition(".")
        if not isinstance(target.get_submodule(pair.norm), nn.Identity):
            setattr(target.get_submodule(parent), name, nn.Identity())


def _folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = 0.0 if layer.bias is None else layer.bias
    bias = (shift - norm.running_mean) * scale + (0.0 if norm.bias is None else norm.bias)
    return layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1)), bias


@final
class _ForwardRecord:
    """The pairs of a layer and the BatchNorm that received its output, in one forward."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.pairs: list[tuple[str, str, Any]] = []
        self._given: dict[int, tuple[str, Tensor, Any]] = {}

    @contextmanager
    def recording(self, network: nn.Module) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, part in network.named_modules():
                if _hooked(part):
                    continue
                if type(part) in (nn.Linear, *_CONVOLUTIONS) and not is_parametrized(part):
                    hooks.callback(part.register_forward_hook(self._after(name)).remove)
                elif type(part) in _NORMS and part.running_mean is not None:
                    hooks.callback(part.register_forward_pre_hook(self._before(name)).remove)
            yield

    def _after(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: object, answer: object) -> None:
            self.runs[name] += 1
            if isinstance(answer, Tensor) and answer.grad_fn is not None:
                self._given[id(answer)] = (name, answer, answer.grad_fn)

        return keep

    def _before(self, name: str) -> Callable[[nn.Module, Any], None]:
        def meet(_: nn.Module, inputs: tuple[object, ...]) -> None:
            self.runs[name] += 1
            layer, answer, node = self._given.get(id(inputs[0]), ("", None, None))
            # An output that was changed in place since has another node.
            if answer is inputs[0] and answer is not None and answer.grad_fn is node:
                self.pairs.append((layer, name, node))

        return meet


def _hooked(part: nn.Module) -> bool:
    """Return whether a user's hook would read or change a value that folding removes."""
    return bool(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks)


def _readers(answer: Tensor) -> Counter[Any]:
    """Count the readers of each node's output in the graph."""
    readers: Counter[Any] = Counter()
    pending: list[Any] = [answer.grad_fn]
    known = set(pending)
    while pending:
        for node, _ in pending.pop().next_functions:
            if node is not None:
                readers[node] += 1
                if node not in known:
                    known.add(node)
                    pending.append(node)
    return readers
