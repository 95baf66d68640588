"""Export of a Classifier to ONNX by torch's exporter, with checks of its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from harden.errors import ExportError, HardenError
from harden.graph.exporting.exporter_messages import reason
from harden.graph.exporting.torch_program import capture_program
from harden.graph.exporting.translation import OPSET, translate_program
from harden.models import Classifier, copied, given_back, names_a_type
from harden.models.out_of_memory import ran_out_of_memory

__all__ = ["OPSET", "WEIGHTS", "ExportModule", "export_graph", "export_module"]

TRACE_BATCH: Final = 2  # a batch of 1 would be taken for a constant
WEIGHTS: Final = "model."
"""Before the names of a classifier's weights in a graph that is not optimised."""


@final
class ExportModule(nn.Module):
    """The exported function: image -> logits, normalisation included, without harden's own checks."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K), float32, of images (N, C, H, W) in [0, 1]."""
        return self.model.bare_logits(image).float()


def export_module(model: Classifier, dtype: torch.dtype = torch.float32) -> ExportModule:
    """A copy for inference on the CPU, freed from torch.compile and DataParallel."""
    module = ExportModule(copied(model, device="cpu", dtype=dtype)).eval()
    return module.requires_grad_(requires_grad=False)


def export_graph(
    model: Classifier, image_shape: tuple[int, int, int], *, optimised: bool = True
) -> onnx.ModelProto:
    """Export a copy of the model for inference, in float32, to ONNX with a dynamic batch.

    Args:
        model: any classifier; it stays as it is.
        image_shape: (C, H, W).
        optimised: whether constants are folded and BatchNorms taken in by convolutions. Else each weight
            keeps its name: that in the model, behind `WEIGHTS`.

    Raises:
        InputError: the network's output holds no logits.
        ExportError: the network fails in float32 or on such images, or torch can't trace or translate it.
    """
    with given_back(model):  # hooks write where the copy's do, and what a tracer leaves there is no tensor
        module = export_module(model)
        if optimised:
            _fix_weights_(module)
        return _exported(module, image_shape, optimised=optimised)


def _exported(module: ExportModule, image_shape: tuple[int, int, int], *, optimised: bool) -> onnx.ModelProto:
    example = torch.rand(TRACE_BATCH, *image_shape, generator=torch.Generator().manual_seed(0))
    _run(module, example)
    hidden = _hide_scripts_(module)
    program = capture_program(module, example)
    if hidden and not program.range_constraints:
        raise _closed_batch(hidden)
    return translate_program(program, optimised=optimised)


@final
@dataclass
class _Sizes:
    """The effect of a part on sizes; torch restores the attributes of a module after capturing it."""

    closed: bool = False


@final
class _Hidden(nn.Module):
    """A scripted part, whose weights the exporter would not take for parameters: they become constants.

    Attributes:
        name: of the part in the network.
        sizes: whether some that were free before the part are numbers behind it: to a script all are.
    """

    def __init__(self, part: nn.Module, name: str) -> None:
        super().__init__()
        self.part, self.name, self.sizes = (part,), name, _Sizes()

    def forward(self, *given: object) -> object:
        """The part's output."""
        free = _free_sizes(given)
        found = self.part[0](*given)
        self.sizes.closed |= _free_sizes(given) < free
        return found


def _closed_batch(hidden: Sequence[_Hidden]) -> ExportError:
    """The error of a network with scripted parts whose program holds for one number of images alone."""
    closing = next((part.name for part in hidden if part.sizes.closed), None)
    if closing is not None:
        return ExportError(
            f"a network whose scripted part {closing!r} makes the number of images a constant",
            "a part for any batch size",
            "write x.flatten(1) for x.view(x.size(0), -1) in it, or pass it without torch.jit.script",
        )
    part = f"a scripted part {hidden[0].name!r}"
    return ExportError(
        f"a network with {part}, in which the number of images becomes a constant",
        "a forward for any batch size",
        "write x.shape[0] for len(x), or pass the part without torch.jit.script",
    )


def _free_sizes(given: tuple[object, ...]) -> int:
    """The number of symbolic sizes of tensors while a program is captured."""
    sizes = [size for value in given if isinstance(value, Tensor) for size in value.shape]
    return sum(isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None for size in sizes)


def _hide_scripts_(module: nn.Module, above: str = "") -> list[_Hidden]:
    """Put a `_Hidden` in the place of each scripted part, and give them."""
    found: list[_Hidden] = []
    for name, part in list(module.named_children()):
        if isinstance(part, torch.jit.ScriptModule):
            path = f"{above}{name}".removeprefix("model.").removeprefix("network.")
            found.append(_Hidden(part, path))
            setattr(module, name, found[-1])
        else:
            found += _hide_scripts_(part, f"{above}{name}.")
    return found


@torch.no_grad()
def _fix_weights_(module: nn.Module) -> None:
    """Put weights in the place of what computes them: ONNX has no orthogonal matrices, and none is needed.

    Not by remove_parametrizations, which changes the class, and a copy shares its class with the original.
    """
    for part in list(module.modules()):
        if is_parametrized(part):
            parametrizations: Any = part.parametrizations
            weights = {name: getattr(part, name).detach().clone() for name in parametrizations}
            del part.parametrizations
            part.__class__ = type_before_parametrizations(part)
            for name, weight in weights.items():
                part.register_parameter(name, nn.Parameter(weight, requires_grad=False))


def _run(module: ExportModule, example: Tensor) -> None:
    """Run the network once in plain torch: what fails here is not the exporter's doing."""
    try:
        module(example)
    except HardenError:
        raise
    except Exception as error:  # a user's forward may raise anything
        if ran_out_of_memory(error):
            raise
        why = reason(error)
        if names_a_type(error):
            raise ExportError(
                f"a network that fails with float32 weights ({why})",
                "a forward that follows the type of its weights",
                "write x.to(self.weight.dtype) instead of a fixed type",
            ) from error
        raise ExportError(
            f"a network that fails on {len(example)} images of shape {tuple(example.shape[1:])} ({why})",
            "images that it was built for, in batches of any size",
            "resize them, or write x.shape instead of numbers in the network's forward",
        ) from error
