"""Translation of torch's program of operators to ONNX, with errors that name untranslatable ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import onnx
import torch
from torch.export import ExportedProgram

from harden.certificate.ports import INPUT, OUTPUT
from harden.errors import ExportError
from harden.graph.exporting.exporter_messages import quiet, reason
from harden.graph.exporting.pooling_windows import drop_empty_windows
from harden.graph.exporting.torch_program import free_batch
from harden.graph.exporting.unsupported_operators import substitute
from harden.models.out_of_memory import ran_out_of_memory

OPSET: Final = 18
_OPERATOR: Final = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_NODE: Final = re.compile(r"target=torch\.ops\.([\w.]+?)\.\w+\]")


def translate_program(program: ExportedProgram, *, optimised: bool) -> onnx.ModelProto:
    """A program as an ONNX graph; nothing is printed.

    Args:
        program: of images to logits.
        optimised: whether constants are folded and BatchNorms taken in by convolutions.

    Raises:
        ExportError: an operator can't be translated; it is named, with the module that calls it.
    """
    try:
        with quiet():
            found = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=free_batch(),  # for the axis's name alone
                opset_version=OPSET,
                dynamo=True,
                optimize=optimised,
                verbose=False,
            )
    except Exception as error:  # the exporter's own classes differ from release to release
        if ran_out_of_memory(error):
            raise
        raise _refusal(program, error) from error
    model = cast(onnx.ModelProto, found.model_proto)  # type: ignore[union-attr]  # None without dynamo
    drop_empty_windows(model)
    return model


def _refusal(program: ExportedProgram, error: Exception) -> ExportError:
    name = next((found for each in _chain(error) if (found := _operator(str(each)))), None)
    if name is None:
        return ExportError(
            f"a network that torch.onnx can't translate ({type(error).__name__}: {reason(error)})",
            "operators that torch.onnx has ONNX for",
            "leave out layers of the network one after another to find which, and write it in other terms",
        )
    name, where = _called(program, name)
    return ExportError(
        f"a network with {name}{where}, for which torch.onnx has no ONNX",
        "operators that torch.onnx has ONNX for",
        substitute(name),
    )


def _operator(text: str) -> str | None:
    """The operator that an error names."""
    found = _OPERATOR.search(text) or _NODE.search(text)
    return None if found is None else found.group(1)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it, the innermost first."""
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and len(found) < 10:
        found.append(at)
        at = at.__cause__ or at.__context__
    return reversed(found)


def _called(program: ExportedProgram, name: str) -> tuple[str, str]:
    """An operator as the network calls it, and in which module: " in 'features.3' (RReLU)", or ""."""
    found = _calls(program.graph.nodes, name) or _calls(_expanded(program), name)
    if found is None:
        return name, ""
    path, kind, called = found
    path = path.removeprefix("model").removeprefix(".network").removeprefix(".")
    return called or name, f" in {path!r} ({kind})" if path else f" in the forward of {kind}"


def _calls(nodes: Iterable[Any], name: str) -> tuple[str, str, str] | None:
    """The path and class of the innermost module that calls an operator first, and what it calls there."""
    for node in nodes:
        stack = node.meta.get("nn_module_stack")
        if stack and _name(node.target) == name:
            path, kind = list(stack.values())[-1]
            came = node.meta.get("from_node") or (node,)
            return (
                path,
                str(getattr(kind, "__name__", kind)).rpartition(".")[2],
                _name(_origin(came[-1]).target),
            )
    return None


def _origin(source: Any) -> Any:
    """The node of the program that was traced, from which a node of an expanded one comes."""
    while getattr(source, "from_node", None):
        source = source.from_node[-1]
    return source


def _name(target: object) -> str:
    return str(target).rpartition(".")[0]


def _expanded(program: ExportedProgram) -> Iterable[Any]:
    """The program in operators like those that the exporter translates, each with where it comes from."""
    from torch._decomp import decomposition_table

    try:
        with quiet():
            expanded = program.run_decompositions(dict(decomposition_table))
            return list(expanded.graph.nodes)
    except Exception:  # what can't be expanded is not named more closely
        return ()
