"""Export of a Classifier to ONNX, with its normalisation and without metadata of the machine."""

from __future__ import annotations

from typing import Any, Final

import onnx
import onnx.checker
import onnx.shape_inference

from harden.errors import ExportError
from harden.graph.exporting.torch_exporter import OPSET, export_graph
from harden.models import Classifier

_REAL: Final = (
    "keep complex numbers as two real ones: torch.view_as_real, and torch.fft.irfft2 for what is real"
)
_HALF: Final = "leave autocast and half precision out of the network's forward"
_SEARCH: Final = (
    "leave out layers of the network one after another to find which, and write it in other terms"
)


def trace(model: Classifier, image_shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Export a copy of the model to ONNX, with a dynamic batch, and BatchNorm folded into convolutions.

    Raises:
        InputError: the network's output holds no logits.
        ExportError: the network fails in float32 or on such images, torch can't trace it, or produced
            another opset than requested.
    """
    graph = export_graph(model, image_shape)
    _strip(graph)
    found = {opset.domain: opset.version for opset in graph.opset_import}
    if found.get("", found.get("ai.onnx")) != OPSET:
        raise ExportError(
            f"opsets {found}", f"opset {OPSET}", "install the torch and onnxscript that harden names"
        )
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(  # type 14 are complex numbers
            f"a graph that ONNX does not allow ({' '.join(str(error).split())[:160]})",
            "operations in float32, which ONNX has",
            _REAL if "(14)" in str(error) else _HALF if "float16" in str(error) else _SEARCH,
        ) from error
    return graph


def _strip(part: Any) -> None:
    """Remove the exporter's metadata of the source, at any depth: paths, code lines, class names."""
    for name in ("metadata_props", "doc_string"):
        if name in part.DESCRIPTOR.fields_by_name:
            part.ClearField(name)
    for field, value in part.ListFields():
        # The body of an If or a Loop is an attribute of its node, with nodes of its own.
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                _strip(each)
