"""A loss's gradient as a CUDA graph, which the host launches whole and not kernel by kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from harden.attacks.engine.best_point import Point
from harden.losses import Loss
from harden.models import PreparedNetwork
from harden.models.pass_count import count, uncounted

WARM_UPS = 3
"""Calls before a capture, in which libraries choose their algorithms and allocate what they keep."""

_log = logging.getLogger("harden")

PointAndGradient = Callable[[Loss, Tensor], tuple[Point, Tensor]]
"""A loss and images to the point with its loss, and the gradient there."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A captured gradient: images, labels and targets are copied in, results hold until the next call."""

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


def replayed(loss: Loss, x: Tensor, compute: PointAndGradient) -> tuple[Point, Tensor] | None:
    """The point and gradient by a CUDA graph where that can be done, else None.

    It can for images on a CUDA device and a loss made of a prepared network and tensors (labels, targets). A
    graph is captured once for each kind of loss and shape, and kept with the network; a failure to capture is
    logged once.
    """
    if not x.is_cuda:
        return None
    classify: Any = getattr(loss, "classify", None)
    given = tensors_of(loss)
    if not isinstance(classify, PreparedNetwork) or given is None:
        return None
    key = (type(loss), tuple(x.shape), x.stride())
    if key not in classify.replays:
        reported = None in classify.replays.values()
        classify.replays[key] = _captured(loss, given, x, compute, reported=reported)
    replay: Any = classify.replays[key]
    return None if replay is None else replay(x, given)


def _captured(
    loss: Loss, given: dict[str, Tensor], x: Tensor, compute: PointAndGradient, *, reported: bool
) -> Replay | None:
    own_x, copies = x.detach().clone(), {name: value.clone() for name, value in given.items()}
    made: Any = loss
    own: Loss = replace(made, **copies)
    try:
        with uncounted():
            apart = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch left it untyped
            apart.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(apart):
                for _ in range(WARM_UPS):
                    compute(own, own_x)
            torch.cuda.current_stream().wait_stream(apart)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                point, gradient = compute(own, own_x)
    except RuntimeError as error:  # of torch or CUDA, for whatever a network does that no graph can hold
        if not reported:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            _log.warning("the network can't be captured as a CUDA graph, attacks are slower: %s", reason)
        return None
    return Replay(own_x, copies, graph, point, gradient)


def tensors_of(loss: object) -> dict[str, Tensor] | None:
    """The fields of a loss other than the network, to be copied into a graph; None if one is no tensor."""
    if not is_dataclass(loss):
        return None
    given = {field.name: getattr(loss, field.name) for field in fields(loss) if field.name != "classify"}
    return given if given and all(isinstance(value, Tensor) for value in given.values()) else None
