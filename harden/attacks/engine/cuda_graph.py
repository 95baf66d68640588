"""A loss's gradient as a CUDA graph: the host launches it whole, and not kernel by kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from harden.attacks.engine.best_point import Point
from harden.losses import SteeringLoss
from harden.models import PreparedNetwork
from harden.models.pass_count import count, uncounted

WARM_UPS = 3
"""Calls before a capture, in which libraries choose their algorithms and allocate what they keep."""

_log = logging.getLogger("harden")

Climb = Callable[[SteeringLoss, Tensor], tuple[Point, Tensor]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A captured climb: images, labels and targets are copied in, results stay until the next call."""

    x: Tensor
    given: dict[str, Tensor]
    graph: torch.cuda.CUDAGraph
    point: Point
    gradient: Tensor

    def __call__(self, x: Tensor, given: dict[str, Tensor]) -> tuple[Point, Tensor]:
        """Loss, errors and gradient at the images x of the shape that was captured."""
        self.x.copy_(x)
        for name, value in given.items():
            self.given[name].copy_(value)
        self.graph.replay()
        with torch.enable_grad():
            count(len(x))  # Python, which counts passes elsewhere, does not run in a replay
        return Point(x, self.point.value, self.point.wrong), self.gradient


def replayed(loss: SteeringLoss, x: Tensor, climb: Climb) -> tuple[Point, Tensor] | None:
    """Climb by a CUDA graph where that can be done, else None.

    It can for images on a CUDA device and a loss made of a prepared network and tensors (labels, targets). A
    graph is captured once for each kind of loss and shape, and kept with the network; one that can't be is
    told once.
    """
    classify: Any = getattr(loss, "classify", None)
    given = tensors_of(loss)
    if not x.is_cuda or not isinstance(classify, PreparedNetwork) or given is None:
        return None
    key = (type(loss), tuple(x.shape), x.stride())
    if key not in classify.replays:
        told = None in classify.replays.values()
        classify.replays[key] = _captured(loss, given, x, climb, told=told)
    replay: Any = classify.replays[key]
    return None if replay is None else replay(x, given)


def _captured(
    loss: SteeringLoss, given: dict[str, Tensor], x: Tensor, climb: Climb, *, told: bool
) -> Replay | None:
    own_x, copies = x.detach().clone(), {name: value.clone() for name, value in given.items()}
    made: Any = loss
    own: SteeringLoss = replace(made, **copies)
    try:
        with uncounted():
            apart = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch left it untyped
            apart.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(apart):
                for _ in range(WARM_UPS):
                    climb(own, own_x)
            torch.cuda.current_stream().wait_stream(apart)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                point, gradient = climb(own, own_x)
    except RuntimeError as error:  # of torch or CUDA, for whatever a network does that no graph can hold
        if not told:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            _log.warning("the network can't be captured as a CUDA graph, attacks are slower: %s", reason)
        return None
    return Replay(own_x, copies, graph, point, gradient)


def tensors_of(loss: object) -> dict[str, Tensor] | None:
    """What a loss is made of beside the network, to be copied into a graph; None where that is no tensor."""
    if not is_dataclass(loss):
        return None
    given = {field.name: getattr(loss, field.name) for field in fields(loss) if field.name != "classify"}
    return given if given and all(isinstance(value, Tensor) for value in given.values()) else None
