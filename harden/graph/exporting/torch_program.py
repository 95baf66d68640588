"""Capture of a module as torch's program of operators, with errors that name the cause."""

from __future__ import annotations

import re
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.dynamic_shapes import refine_dynamic_shapes_from_suggested_fixes

from harden.errors import ExportError
from harden.graph.exporting.exporter_messages import quiet, reason
from harden.graph.exporting.substitution import Substitution
from harden.models.out_of_memory import ran_out_of_memory

_DEPENDS: Final = re.compile(
    r"data-dependent|GuardOnDataDependent|Could not guard on|unbacked|DynamicOutputShape|_local_scalar_dense"
)
_BATCH: Final = re.compile(r"Constraints violated|ConstraintViolation|specializ|marked .* as dynamic")


def free_batch() -> tuple[dict[int, torch.export.Dim]]:
    """The dynamic shapes of images (batch, C, H, W)."""
    return ({0: torch.export.Dim("batch")},)


def capture_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """The operators that a module runs for images (N, C, H, W), with a free batch; nothing is printed.

    Raises:
        ExportError: the forward can't be written down as operators, and why.
    """
    causes: list[Exception] = []
    closed: ExportedProgram | None = None
    # The first runs the forward in Python; the second reads its bytecode, and accepts len(x) and others that
    # the first does not, but no scripted part.
    for strict in (False, True):
        try:
            with quiet(), Substitution():
                program = _captured(module, example, strict)
            if program.range_constraints:
                return program
            closed = closed or program
        except Exception as error:  # classes differ from release to release, and a forward may raise any
            if ran_out_of_memory(error):
                raise
            causes.append(error)
    if closed is not None:
        return closed  # the gate says for which batches it holds
    raise _refusal(causes[0]) from causes[0]


def _captured(module: nn.Module, example: Tensor, strict: bool) -> ExportedProgram:
    shapes = free_batch()
    try:
        return torch.export.export(module, (example,), dynamic_shapes=shapes, strict=strict)
    except Exception as error:  # torch's classes for it differ from release to release
        try:
            # A branch on the number of images: torch says for which batches it holds. The gate tries several.
            within: Any = refine_dynamic_shapes_from_suggested_fixes(
                getattr(error, "msg", str(error)), shapes
            )
        except Exception:  # it has nothing to suggest
            raise error from None
        return torch.export.export(module, (example,), dynamic_shapes=within, strict=strict)


def _refusal(error: Exception) -> ExportError:
    said = f"{type(error).__name__}: {reason(error)}"
    text = f"{type(error).__name__} {error}"
    seen = f"a network that torch.export can't trace ({said})"
    if _DEPENDS.search(text):
        return ExportError(
            seen,
            "a forward without data-dependent control flow",
            "use torch.where instead of if, a fixed number of steps instead of while, and no .item()",
        )
    if _BATCH.search(text):
        return ExportError(
            seen,
            "a forward for any batch size",
            "write x.shape[0] instead of a number, and nothing that depends on how many images there are",
        )
    return ExportError(
        seen,
        "a forward of torch's operators alone",
        "leave numpy, PIL and prints of values out of it, and assign no tensor to a module inside it",
    )
