"""Reference logits for the parity gate: of the network in float64, or else in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from harden.graph.exporting.torch_exporter import ExportModule, export_module
from harden.models import Classifier
from harden.models.out_of_memory import ran_out_of_memory

Precision = Literal["float64", "float32"]

_TWICE: Final = {torch.float32: torch.float64, torch.complex64: torch.complex128}
_LAST_BIT: Final = 2.0**-23
_DRAWS: Final = 8


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLogits:
    """The network's logits on some images, and the error of its float32 execution.

    Attributes:
        logits: float64 (N, K).
        own: the largest difference of a float32 execution, in logits.
        precision: of the computation of the logits.
    """

    logits: NDArray[np.float64]
    own: float
    precision: Precision

    @property
    def scale(self) -> float:
        """The largest logit."""
        return float(np.abs(self.logits).max())


@torch.no_grad()
def reference(model: Classifier, network: ExportModule, image: Tensor) -> ReferenceLogits:
    """Compute the reference logits of a network on images (N, C, H, W), float32.

    In float64, a copy of the network is run in which casts to float32 and tensors that the forward makes in
    float32 are float64 too; `own` is max |y32 - y64|. Where that fails, as in code that is written for
    float32 alone, the reference is the network in float32, and `own` is the largest difference from it among
    other float32 executions of it: one image at a time, without oneDNN, in channels last, and eight times
    with the last bit of every weight and pixel moved at random, which models rounding inside the network.

    Args:
        model: the network.
        network: a copy for inference in float32.
        image: the images.
    """
    single = _run(network, image)
    try:
        double = export_module(model, torch.float64)
        with _in_float64():
            exact = _run(double, image.double())
    except Exception as error:  # a user's forward may raise anything where tensors are of another type
        if ran_out_of_memory(error):
            raise
        return ReferenceLogits(single, _spread(model, network, image, single), "float32")
    return ReferenceLogits(exact, float(np.abs(single - exact).max()), "float64")


def _spread(model: Classifier, network: ExportModule, image: Tensor, first: NDArray[np.float64]) -> float:
    """The largest difference among float32 executions of a network."""

    def alone() -> Iterator[NDArray[np.float64]]:
        yield np.concatenate([_run(network, image[row : row + 1]) for row in range(len(image))])

    def without_onednn() -> Iterator[NDArray[np.float64]]:
        with _onednn_off():
            yield _run(network, image)

    def channels_last() -> Iterator[NDArray[np.float64]]:
        last = export_module(model).to(memory_format=torch.channels_last)
        yield _run(last, image.contiguous(memory_format=torch.channels_last))

    def moved() -> Iterator[NDArray[np.float64]]:
        draws = torch.Generator().manual_seed(0)
        for _ in range(_DRAWS):
            other = export_module(model)
            for weight in (*other.parameters(), *other.buffers()):
                _move_(weight, draws)
            x = image.clone()
            _move_(x, draws)
            yield _run(other, x)

    apart = [0.0]
    executions: tuple[Callable[[], Iterator[NDArray[np.float64]]], ...]
    executions = (alone, without_onednn, channels_last, moved)
    for execution in executions:
        try:
            apart += [float(np.abs(each - first).max()) for each in execution() if each.shape == first.shape]
        except Exception as error:  # a user's forward may take no single image or layout
            if ran_out_of_memory(error):
                raise
    return max(each for each in apart if np.isfinite(each))


def _run(network: ExportModule, image: Tensor) -> NDArray[np.float64]:
    logits: Tensor = network(image)
    return logits.double().numpy()


def _move_(tensor: Tensor, draws: torch.Generator) -> None:
    """Move each number of a float32 tensor up or down by its last bit."""
    if tensor.dtype == torch.float32:
        signs = torch.randint(2, tensor.shape, generator=draws).mul_(2).sub_(1)
        tensor.mul_(1 + _LAST_BIT * signs)


@contextmanager
def _onednn_off() -> Iterator[None]:
    """Compute convolutions in another order. Not mkldnn.flags: its warning about TF32 may raise."""
    before, switch = torch.backends.mkldnn.enabled, torch.backends.mkldnn.set_flags
    switch(False, None, None, None)  # type: ignore[no-untyped-call]  # torch annotates none of it
    try:
        yield
    finally:
        switch(before, None, None, None)  # type: ignore[no-untyped-call]  # likewise


@contextmanager
def _in_float64() -> Iterator[None]:
    """Compute in float64 where a forward specifies float32."""
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float64Mode():  # type: ignore[no-untyped-call]  # its __init__ is torch's, without annotations
            yield
    finally:
        torch.set_default_dtype(kind)


@final
class _Float64Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # __init_subclass__ has no annotations
    """Replaces float32 tensors and types by float64 in every operation; half precision is kept."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, named = tree_map(_doubled, (args, kwargs or {}))
        return func(*given, **named)


def _doubled(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _TWICE.get(value, value)
    if isinstance(value, Tensor) and value.dtype in _TWICE:
        return value.to(_TWICE[value.dtype])
    return value
