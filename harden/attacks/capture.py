"""A loss's gradient as a CUDA graph: the host launches it whole, and not kernel by kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from harden.attacks.point import Point
from harden.losses import SteeringLoss
from harden.models import Prepared
from harden.models.passes import count, uncounted

WARM_UPS = 3
"""Calls before a capture, in which libraries choose their algorithms and allocate what they keep."""

_log = logging.getLogger("harden")

Climb = Callable[[SteeringLoss, Tensor], tuple[Point, Tensor]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A captured climb: images and labels are copied in, results stay in its memory until the next call."""

    x: Tensor
    y: Tensor
    graph: torch.cuda.CUDAGraph
    point: Point
    gradient: Tensor

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Point, Tensor]:
        """Loss, errors and gradient at the images x of the shape that was captured."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        with torch.enable_grad():
            count(len(x))  # Python, which counts passes elsewhere, does not run in a replay
        return Point(x, self.point.value, self.point.wrong), self.gradient


def replayed(loss: SteeringLoss, x: Tensor, climb: Climb) -> tuple[Point, Tensor] | None:
    """Climb by a CUDA graph where that can be done, else None.

    It can for images on a CUDA device and a loss made of (classify, y) on a prepared network. A graph is
    captured once for each kind of loss and shape, and kept with the network; one that can't be is told once.
    """
    classify: Any = getattr(loss, "classify", None)
    if not x.is_cuda or not isinstance(classify, Prepared) or not _is_of_labels(loss):
        return None
    key = (type(loss), tuple(x.shape), x.stride())
    if key not in classify.replays:
        classify.replays[key] = _captured(loss, x, climb, told=None in classify.replays.values())
    replay: Any = classify.replays[key]
    return None if replay is None else replay(x, _labels(loss))


def _captured(loss: SteeringLoss, x: Tensor, climb: Climb, *, told: bool) -> Replay | None:
    own_x, own_y = x.detach().clone(), _labels(loss).clone()
    made: Any = loss
    own: SteeringLoss = replace(made, y=own_y)
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
    return Replay(own_x, own_y, graph, point, gradient)


def _is_of_labels(loss: object) -> bool:
    """Whether a loss is made of (classify, y) and nothing else, so that other labels can be put in."""
    names = tuple(getattr(loss, "__dataclass_fields__", ()))
    return is_dataclass(loss) and names == ("classify", "y")


def _labels(loss: SteeringLoss) -> Tensor:
    y: Any = getattr(loss, "y")  # noqa: B009  # known by _is_of_labels, not by the type
    labels: Tensor = y
    return labels
