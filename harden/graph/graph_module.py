"""A graph as a torch module."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from harden.graph.batch_independence import mixing
from harden.graph.operation_graph import Graph
from harden.models.input_layout import NamedLogits


@final
class GraphNetwork(nn.Module):
    """The differentiable reading of an ONNX file: images to logits.

    The file's constants are its buffers, so that it moves between devices and types and can be copied and
    digested as any network. A file of one fixed batch size takes any number of images too: at once where the
    file computes each by itself (`mixing`), else, or where its constants have that size, so many at a time.

    Args:
        graph: what `harden.graph.read` gave.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.output = NamedLogits()
        self.graph = graph
        self._at_once = graph.batch is None or _any_number(graph)
        # Names in files hold dots and slashes, which a buffer's can't.
        self._names = {name: f"constant_{number}" for number, name in enumerate(graph.constants)}
        for name, buffer in self._names.items():
            self.register_buffer(buffer, graph.constants[name].clone())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...) as the file takes them."""
        constants = {name: self.get_buffer(buffer) for name, buffer in self._names.items()}
        size = self.graph.batch
        if size is None or self._at_once or len(x) == size:
            return self._logits(self.graph.run(x, constants))
        parts = [self.graph.run(part, constants) for part in self._of_size(x, size)]
        return self._logits(torch.cat(parts)[: len(x)])

    def get_classifier(self) -> nn.Module:
        """The head, whose input a `Classifier` takes as features: here the logits themselves.

        Which of a file's values are features, no file says.
        """
        return self.output

    def _logits(self, found: Tensor) -> Tensor:
        logits: Tensor = self.output(found)
        return logits

    def _of_size(self, x: Tensor, size: int) -> list[Tensor]:
        if not len(x):
            return [x.new_zeros(size, *x.shape[1:])]  # its logits are all dropped
        parts = list(torch.split(x, size))
        missing = size - len(parts[-1])
        if missing:  # the last image again, its logits dropped
            parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(missing, *x.shape[1:])])
        return parts


def _any_number(graph: Graph) -> bool:
    """True if a graph for one batch size gives the same logits of images in batches of another."""
    if mixing(graph):
        return False
    number = 1 + (graph.batch or 0)
    constants = {name: each.to("meta") for name, each in graph.constants.items()}
    try:
        found = graph.run(torch.empty(number, *graph.input.shape[1:], device="meta"), constants)
    except RuntimeError:
        return False
    return len(found) == number
