"""What the operations have in common."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Operation = Callable[..., Tensor]
"""A frozen value of attributes, called with tensors in the order of the ONNX operator's inputs.

What ONNX passes as a tensor of integers (a shape, axes, pads) is an attribute here, resolved when the graph
is read. Weights are tensors: so the same graph runs on the file's constants and on live parameters. The
output is differentiable and follows dtype and device of the inputs.
"""
