"""A classifier as a graph on the classifier's present weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final, final

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.graph.absorb_batchnorm import absorb_batchnorms
from harden.graph.exporting.torch_exporter import WEIGHTS, export_graph
from harden.graph.operation_graph import Graph
from harden.graph.operators.affine_layers import BatchNormalization
from harden.graph.reading.read import read
from harden.models import Classifier, float32_copy
from harden.models.pass_count import uncounted
from harden.system.shards import batch_mean

Statistics = Mapping[str, Tensor]
_ROUNDING: Final = 1e-3
"""By how much of the largest logit network and graph may differ: far more than float32 rounds."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LiveGraph:
    """The operations of a network in inference mode, on live weights, and on any BatchNorm statistics.

    Args:
        graph: its constants are those of the moment at which it was traced.
        weights: the name in the classifier of each constant that is one of its parameters or buffers.
        norms: by the name of a BatchNorm in the classifier, the constants that are its mean and variance.
    """

    graph: Graph
    weights: Mapping[str, str]
    norms: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, model: Classifier, image_shape: tuple[int, int, int]) -> LiveGraph:
        """Trace a classifier; it stays as it is.

        Guarantee: on other weights than those that it was traced with the graph gives the network's logits,
        which is tried.

        Raises:
            InputError: an operation can't be read, a BatchNorm is used twice, or the graph does not follow
                its weights.
            ExportError: torch can't trace the network.
        """
        own = {WEIGHTS + name: name for name, _ in _tensors(model)}
        graph = read(export_graph(model, image_shape, optimised=False), moving=frozenset(own))
        weights = {name: own[name] for name in graph.constants if name in own}
        found = cls(absorb_batchnorms(graph), weights, _norms(graph, weights))
        found._check(model, image_shape)
        return found

    def constants(self, model: Classifier, statistics: Statistics | None = None) -> dict[str, Tensor]:
        """All constants of the graph, with gradients to the classifier's parameters.

        Args:
            model: the classifier, or a copy of it.
            statistics: means and variances of BatchNorms that are not the stored ones, as `observed` gives
                them.
        """
        device, own = model.device, dict(_tensors(model))
        found = {name: each.to(device) for name, each in self.graph.constants.items()}
        found.update({name: own[place] for name, place in self.weights.items()})
        found.update(statistics or {})
        for node in self.graph.derived:
            found[node.output] = node.operation(*(found[name] for name in node.inputs))
        return found

    @contextmanager
    def observed(self, model: Classifier) -> Iterator[dict[str, Tensor]]:
        """Give what is filled, by forwards inside, with the statistics of the BatchNorms in training mode."""
        seen: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for name, places in self.norms.items():
                part = model.get_submodule(name)
                if part.training:
                    handle = part.register_forward_pre_hook(_Observer(places, seen))
                    stack.callback(handle.remove)
            yield seen

    @torch.no_grad()
    @uncounted()
    def _check(self, model: Classifier, image_shape: tuple[int, int, int]) -> None:
        copy, draws = float32_copy(model).cpu(), torch.Generator().manual_seed(0)
        for part in copy.modules():
            part.training = False
        for _, each in _tensors(copy):
            if each.is_floating_point():
                each.mul_(1 + 0.1 * torch.rand(each.shape, generator=draws))
        x = torch.rand(4, *image_shape, generator=draws)
        expected = copy.bare_logits(x)
        apart = (self.graph.run(x, self.constants(copy)) - expected).abs().max()
        if not apart <= _ROUNDING * expected.abs().max() + 1e-6:
            raise InputError(
                f"a network whose graph does not follow its weights (logits differ by {float(apart):.3g})",
                "weights that the forward reads as the module's own parameters",
                "leave out what computes weights from others, or train it by attacks (TRADES)",
            )


@final
class _Observer:
    """Notes the mean and the biased variance over all but the channels of what comes in."""

    def __init__(self, places: tuple[str, str], seen: dict[str, Tensor]) -> None:
        self._places, self._seen = places, seen

    def __call__(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        axes = [0, *range(2, x.dim())]
        mean = batch_mean(x, axes, keepdim=True)
        variance = batch_mean((x - mean) ** 2, axes)  # torch.var_mean takes five times as long here
        self._seen.update(zip(self._places, (mean.flatten(), variance), strict=True))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    named = model.named_parameters(remove_duplicate=False)
    return chain(named, model.named_buffers(remove_duplicate=False))


def _norms(graph: Graph, weights: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The BatchNorms whose statistics are buffers, by module."""
    found: dict[str, tuple[str, str]] = {}
    for node in graph.nodes:
        if not isinstance(node.operation, BatchNormalization):
            continue
        mean, variance = node.inputs[3:]
        name, _, kind = weights.get(mean, "").rpartition(".")
        if kind != "running_mean":
            continue
        if name in found:
            raise InputError(
                f"the BatchNorm {name!r}, through which images pass twice",
                "one for each place, whose statistics are one batch's",
                "give each place a BatchNorm of its own",
            )
        found[name] = (mean, variance)
    return found
