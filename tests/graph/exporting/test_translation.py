"""Translation to ONNX: named ports and opset, and errors that name the operator and its module."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from harden.errors import ExportError
from harden.graph.exporting import translation
from harden.graph.exporting.torch_program import capture_program
from harden.graph.exporting.translation import OPSET, translate_program
from tests.graph.graphs import run

EXAMPLE = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def program(layer: nn.Module) -> torch.export.ExportedProgram:
    return capture_program(nn.Sequential(nn.Flatten(), layer).eval(), EXAMPLE)


def test_a_translated_program_has_our_ports_and_opset() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dense = nn.Linear(16, 3)
    file = translate_program(program(dense), optimised=True)
    onnx.checker.check_model(file, full_check=True)
    assert [port.name for port in file.graph.input] == ["image"]
    assert [port.name for port in file.graph.output] == ["logits"]
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [(each.domain, each.version) for each in file.opset_import if not each.domain] == [("", OPSET)]
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = dense(x.flatten(1)).numpy()
    np.testing.assert_allclose(run(file, x.numpy()), expected, rtol=1e-5, atol=1e-6)


def test_an_operator_without_onnx_is_named_with_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The innermost error names the operator; the program says which module calls it."""

    def failing(*_: object, **__: object) -> None:
        try:
            raise ValueError("No ONNX function found for <OpOverload(op='aten.relu', overload='default')>")
        except ValueError as error:
            raise RuntimeError("failed to translate") from error

    captured = program(nn.ReLU())
    monkeypatch.setattr(torch.onnx, "export", failing)
    with pytest.raises(ExportError) as caught:
        translate_program(captured, optimised=False)
    error = caught.value
    assert error.seen == "a network with aten.relu in '1' (ReLU), for which torch.onnx has no ONNX"
    assert error.expected == "operators that torch.onnx has ONNX for"
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (RuntimeError("boom\nand more"), r"can't translate \(RuntimeError: boom\)"),
        (
            RuntimeError("No ONNX function found for <OpOverload(op='aten.foo', overload='default')>"),
            "a network with aten.foo, for which torch.onnx has no ONNX",
        ),
        (
            RuntimeError("%a = call_function[target=torch.ops.aten.bar.default](args = ())"),
            "a network with aten.bar, for which",
        ),
    ],
)
def test_the_exporter_s_own_errors(monkeypatch: pytest.MonkeyPatch, error: Exception, seen: str) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.onnx, "export", failing)
    monkeypatch.setattr(translation, "_expanded", lambda _: ())
    nothing = SimpleNamespace(graph=SimpleNamespace(nodes=()))
    with pytest.raises(ExportError, match=seen) as caught:
        translate_program(nothing, optimised=True)  # type: ignore[arg-type]  # all that is read of it
    assert caught.value.__cause__ is error
