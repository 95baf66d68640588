"""Finds the BatchNorms that the layer before them can take in, and folds them: a layer less to run."""

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
    """Find what can be folded by watching one forward and its graph, whatever Python runs in between.

    A pair is a convolution or linear layer and a BatchNorm with running statistics, in inference mode, that
    run once each, where the BatchNorm is the only reader of the layer's output.

    Args:
        network: in inference mode; left as it is.
        forward: runs it once, with gradients, and gives an output that depends on an input that requires one.
    """
    watch = _Watch()
    with watch.on(network):
        answer = forward()
    readers = _readers(answer)
    return tuple(
        FoldablePair(layer, norm)
        for layer, norm, node in watch.met
        if watch.runs[layer] == watch.runs[norm] == 1 and readers[node] == 1
    )


@torch.no_grad()
def fold_(target: nn.Module, source: nn.Module, pairs: Sequence[FoldablePair]) -> None:
    """Write into the layers of `target` what those of `source` and their BatchNorms compute together.

    W' = W g / sqrt(v + e) and b' = (b - m) g / sqrt(v + e) + t, for mean m, variance v, weight g and bias t.
    The BatchNorms of `target` become identities. `source` is left as it is; `target` may be folded already.
    """
    for pair in pairs:
        layer, norm = source.get_submodule(pair.layer), source.get_submodule(pair.norm)
        weight, bias = _together(layer, norm)
        folded: Any = target.get_submodule(pair.layer)
        folded.weight.copy_(weight)
        if folded.bias is None:
            folded.bias = nn.Parameter(bias.to(folded.weight.dtype), requires_grad=False)
        else:
            folded.bias.copy_(bias)
        parent, _, name = pair.norm.rpartition(".")
        if not isinstance(target.get_submodule(pair.norm), nn.Identity):
            setattr(target.get_submodule(parent), name, nn.Identity())


def _together(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = 0.0 if layer.bias is None else layer.bias
    bias = (shift - norm.running_mean) * scale + (0.0 if norm.bias is None else norm.bias)
    return layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1)), bias


@final
class _Watch:
    """Which BatchNorm received what a layer gave, in one forward."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.met: list[tuple[str, str, Any]] = []
        self._given: dict[int, tuple[str, Tensor, Any]] = {}

    @contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
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
            # What was changed in place since has another node.
            if answer is inputs[0] and answer is not None and answer.grad_fn is node:
                self.met.append((layer, name, node))

        return meet


def _hooked(part: nn.Module) -> bool:
    """Return whether a user's hook would see, or change, what folding takes away."""
    return bool(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks)


def _readers(answer: Tensor) -> Counter[Any]:
    """Number of places of the graph read what each of its nodes gave."""
    readers: Counter[Any] = Counter()
    waiting: list[Any] = [answer.grad_fn]
    known = set(waiting)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                readers[node] += 1
                if node not in known:
                    known.add(node)
                    waiting.append(node)
    return readers
