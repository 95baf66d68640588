"""ONNX's own tests of its operators: what is read of them gives what they expect."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.backend.test.case import node as package

from harden.errors import InputError
from harden.graph import Graph, read
from tests.graph.conformance import difference
from tests.graph.graphs import Array

READ = 421
"""Of the node tests of the ONNX in constraints.txt, all inputs but the first of float32 as constants."""
SLOW = "lppool"
"""Its data take seconds to compute, and it is not read."""


def cases() -> Iterator[tuple[str, onnx.ModelProto, list[Array], list[Array], float, float]]:
    """Name, model, inputs, outputs and tolerances."""
    with warnings.catch_warnings():  # numpy's, from making their data
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name != SLOW:
                importlib.import_module(f"{package.__name__}.{module.name}")
    for case in package._NodeTestCases:
        for inputs, outputs in (case.data_sets or [])[:1]:
            if case.model is not None:
                yield case.name, case.model, list(inputs), list(outputs), case.rtol, case.atol


def with_one_input(model: onnx.ModelProto, inputs: list[Array]) -> tuple[onnx.ModelProto, Array] | None:
    """The first float32 input stays, the others become constants; of outputs the first alone is asked for."""
    arrays = [each if isinstance(each, np.ndarray | np.generic) else None for each in inputs]
    floats = [at for at, each in enumerate(arrays) if each is not None and each.dtype == np.float32]
    if not floats or any(each is None for each in arrays) or len(arrays) != len(model.graph.input):
        return None
    found = onnx.ModelProto()
    found.CopyFrom(model)
    ports = list(found.graph.input)
    del found.graph.input[:]
    del found.graph.output[1:]
    for at, (port, array) in enumerate(zip(ports, arrays, strict=True)):
        if at == floats[0]:
            found.graph.input.append(port)
        else:
            found.graph.initializer.append(numpy_helper.from_array(np.asarray(array), port.name))
    return found, np.asarray(inputs[floats[0]])


def opened(file: onnx.ModelProto) -> Graph | None:
    """The graph; None where it is refused."""
    try:
        return read(file)
    except InputError:
        return None


def unlike(graph: Graph, x: Array, expected: Array, rtol: float, atol: float) -> str | None:
    """How a graph's output differs from what a test expects; None where it does not."""
    found = graph.run(torch.from_numpy(x)).numpy()
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    if not np.allclose(found, expected, rtol, atol, equal_nan=True):
        return f"{np.abs(found - expected).max():.3g} from what is expected"
    return None


@pytest.mark.slow
def test_what_is_read_of_onnx_s_node_tests_gives_what_they_expect_and_what_the_runtime_computes() -> None:
    seen, wrong = 0, {}
    for name, model, inputs, outputs, rtol, atol in cases():
        given = with_one_input(model, inputs)
        graph = None if given is None else opened(given[0])
        if given is None or graph is None:
            continue
        seen += 1
        file, x = given
        for apart in (unlike(graph, x, np.asarray(outputs[0]), rtol, atol), difference(file, graph, x)):
            if apart is not None:
                wrong[name] = apart
    assert wrong == {}
    assert seen >= READ
