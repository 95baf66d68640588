"""The state of objectives that minimise bounds: the classifier, and the graph that bounds are computed on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.bounds import Program
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.interval_margins import propagate_intervals
from harden.errors import InputError
from harden.graph import Graph
from harden.graph.live_weights import LiveGraph
from harden.models import Classifier
from harden.models.pass_count import count
from harden.threats import Linf, Threat


@final
@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The network of one step, in inference mode but with the BatchNorm statistics of the clean images.

    Args:
        graph: what is computed.
        constants: on which weights, with their gradients.
        logits: of the clean images (N, K), from the network's own forward.
    """

    graph: Graph
    constants: dict[str, Tensor]
    logits: Tensor

    def answer(self, x: Tensor) -> Tensor:
        """Logits (N, K) of other images."""
        count(len(x))
        return self.graph.run(x, self.constants)

    def still(self) -> Seen:
        """The same without gradients for weights, for attacks."""
        constants = {name: each.detach() for name, each in self.constants.items()}
        return Seen(self.graph, constants, self.logits.detach())

    def bounds(self, lower: Tensor, upper: Tensor) -> Relaxation:
        """Intervals over boxes (N, ...), in float32, with gradients for the weights."""
        count(2 * len(lower))  # centres and radii both go through the network
        program = Program.of(self.graph, self.constants, dtype=lower.dtype, device=lower.device)
        return propagate_intervals(program, lower, upper)


@final
class BoundedState(nn.Module):
    """Holds the classifier; its graph is traced with the first batch and is no part of a checkpoint."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self._graph: LiveGraph | None = None

    def seen(self, x: Tensor) -> Seen:
        """The network as the clean images (N, C, H, W) see it in this step."""
        if self._graph is None:
            self._graph = bounded_graph(self.classifier, (x.shape[1], x.shape[2], x.shape[3]))
        with self._graph.observed(self.classifier) as statistics:
            logits = self.classifier.logits(x)
        return Seen(self._graph.graph, self._graph.constants(self.classifier, statistics), logits)


def bounded_graph(model: Classifier, image_shape: tuple[int, int, int]) -> LiveGraph:
    """The graph of a network that bounds can be computed on.

    Raises:
        InputError: an operation has no rule; all are named.
        ExportError: torch can't trace the network.
    """
    found = LiveGraph.of(model, image_shape)
    Program.of(found.graph, found.constants(model), dtype=torch.float32, device=model.device)
    return found


def check_bounded(model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
    """Check threat and network before any training.

    Raises:
        InputError: the threat is not L-inf, or an operation has no rule.
        ExportError: torch can't trace the network.
    """
    _check_threat(threat)
    bounded_graph(model, image_shape)


def bounded_state(state: nn.Module) -> BoundedState:
    """The state as what `start` of a certified objective made.

    Raises:
        TypeError: it is another.
    """
    if not isinstance(state, BoundedState):
        raise TypeError(f"this objective's start() makes a BoundedState, and not a {type(state).__name__}")
    return state


def box(x: Tensor, threat: Threat, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """The box of radius share * eps around images, within the data's: float32, not rounded outward.

    Raises:
        InputError: the threat is not L-inf.
    """
    radius, (low, high) = share * float(_check_threat(threat).eps), threat.bounds
    return (x - radius).clamp(low, high), (x + radius).clamp(low, high)


def _check_threat(threat: Threat) -> Linf:
    if not isinstance(threat, Linf):
        raise InputError(
            f"certified training against {threat!r}",
            "an L-inf threat: intervals are boxes",
            'write Linf("0.1"), or train by attacks (TRADES) and certify afterwards',
        )
    return threat


@torch.no_grad()
def draw_for_intervals_(model: Classifier) -> None:
    """Draw weights anew so that intervals keep their width (Shi et al., arXiv 2103.17268, section 4.2).

    Normal with standard deviation sqrt(2 pi) / n for n inputs; biases 0; BatchNorms as when they are made.
    Layers that are held still stay what they are. The draws follow from the seed that torch was set to, as
    the loop does for each stage, and leave torch's own generator alone.
    """
    generator = torch.Generator().manual_seed(torch.initial_seed())
    for part in model.network.modules():
        if not all(weight.requires_grad for weight in part.parameters(recurse=False)):
            continue
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            inputs = math.prod(part.weight.shape[1:])
            drawn = torch.randn(part.weight.shape, generator=generator)
            part.weight.copy_(drawn * (math.sqrt(2 * math.pi) / inputs))
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.reset_parameters()
