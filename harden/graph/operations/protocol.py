"""What the operations have in common."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Operation(Protocol):
    """A frozen value of attributes, called with tensors in the order of the ONNX operator's inputs.

    What ONNX passes as a tensor of integers (a shape, axes, pads) is an attribute here, resolved when the
    graph is read. Weights are tensors: so the same graph runs on the file's constants and on live parameters.
    """

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Compute the output, differentiably; it follows the dtype and device of the inputs."""
        ...
