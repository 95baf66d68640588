from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.artefact.classifier_to_onnx import _strip, trace
from harden.artefact.parity.parity_gate import check_parity
from harden.artefact.runtime.session import Session
from harden.errors import ExportError
from harden.graph.exporting.torch_exporter import OPSET, export_module
from harden.models import Classifier
from harden.models.small_networks import small_cnn

MakeClassifier = Callable[..., Classifier]
SHAPE = (1, 8, 8)


def data(graph: onnx.ModelProto) -> bytes:
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def test_one_input_one_output_in_float32_with_a_free_batch(traced: bytes) -> None:
    graph = onnx.load_model_from_string(traced).graph
    (image,), (logits,) = graph.input, graph.output
    assert (image.name, logits.name) == ("image", "logits")
    assert image.type.tensor_type.elem_type == logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    dims = image.type.tensor_type.shape.dim
    assert dims[0].dim_param == "batch"
    assert [dim.dim_value for dim in dims[1:]] == [1, 8, 8]
    out = logits.type.tensor_type.shape.dim
    assert (out[0].dim_param, out[1].dim_value) == ("batch", 10)


def test_opset_is_18_and_no_other_domain_is_used(traced: bytes) -> None:
    graph = onnx.load_model_from_string(traced)
    assert OPSET == 18
    assert {(opset.domain, opset.version) for opset in graph.opset_import} == {("", 18)}
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}


def test_batch_norm_went_into_the_convolutions(trained: Classifier, traced: bytes) -> None:
    assert sum(isinstance(part, nn.BatchNorm2d) for part in trained.modules()) == 3
    kinds = [node.op_type for node in onnx.load_model_from_string(traced).graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == 3


@pytest.mark.parametrize("batch", [1, 3, 5, 7])
def test_any_batch_gives_the_classifiers_logits_normalisation_included(
    trained: Classifier, traced: bytes, pictures: Tensor, batch: int
) -> None:
    session = Session(traced)
    x = pictures[:batch]
    with torch.no_grad():
        expected = trained(x)
        bare = trained.network(x)
    found = torch.from_numpy(session(x.numpy()))
    assert found.shape == (batch, 10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # Without normalisation the answer would be another: the comparison above can fail.
    assert (found - bare).abs().max() > 0.1


def test_nothing_in_the_bytes_tells_about_the_machine(traced: bytes) -> None:
    graph = onnx.load_model_from_string(traced)
    telling = (str(Path.cwd()), str(Path.home()), os.path.dirname(torch.__file__), ".py", "site-packages")
    for word in (*telling, "torch.nn", "forward", "Classifier", "pkg.torch"):
        assert word.encode() not in traced, word
    parts = [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]
    parts += [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]
    assert [part for part in parts if part.doc_string or len(part.metadata_props)] == []


def test_graphs_inside_nodes_tell_nothing_either() -> None:
    """The branches of an If and the body of a Loop are graphs in an attribute, functions have nodes too."""
    helper = onnx.helper
    graphs: list[onnx.GraphProto] = []
    for depth in range(2):
        node = helper.make_node("If", ["x"], ["y"]) if depth else helper.make_node("Neg", ["x"], ["y"])
        for name in ("then_branch", "else_branch")[: 2 * depth]:
            node.attribute.append(helper.make_attribute(name, graphs[-1]))
        constant = helper.make_tensor("c", onnx.TensorProto.FLOAT, [1], [2.0])
        value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        node.attribute.append(helper.make_attribute("value", constant))
        for part in (node, node.attribute[0], node.attribute[-1].t, constant, value):
            part.doc_string = "secret.py"
        node.metadata_props.add(key="source", value="secret.py")
        graph = helper.make_graph([node], "main", [value], [value], [constant])
        graph.doc_string = "secret.py"
        graphs.append(graph)
    function = helper.make_function("local", "f", ["x"], ["y"], [graphs[-1].node[0]], [])
    model = helper.make_model(graphs[-1], functions=[function], doc_string="secret.py")
    assert model.SerializeToString().count(b"secret.py") > 20
    _strip(model)
    assert model.SerializeToString().count(b"secret.py") == 0
    (branch, _) = [each.g for each in model.graph.node[0].attribute if each.HasField("g")]
    assert branch.node[0].op_type == "Neg"
    assert list(branch.initializer[0].float_data) == [2.0]


def test_same_model_same_bytes(trained: Classifier, traced: bytes, make_classifier: MakeClassifier) -> None:
    assert data(trace(copy.deepcopy(trained), SHAPE)) == traced
    assert data(trace(make_classifier(seed=1), SHAPE)) != traced


class Named(nn.Module):
    """Buffers with the names that the graph's input, output and ours have."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("image", "logits", "mean", "std", "batch"):
            self.register_buffer(name, torch.rand(1, 1, 8, 8))
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        for name in ("image", "logits", "mean", "std", "batch"):
            x = x * 0.5 + self.get_buffer(name)
        answer: Tensor = self.head(x.flatten(1))
        return answer


def test_a_users_buffers_may_have_the_graphs_names(make_classifier: MakeClassifier, pictures: Tensor) -> None:
    model = make_classifier(Named)
    session = Session(data(trace(model, SHAPE)))
    assert check_parity(model, session, pictures).max_error < 1e-4


def compiled(network: nn.Module) -> nn.Module:
    # torch's annotation names a function; it returns a module that compiles when it is first called.
    made: object = torch.compile(network)
    assert isinstance(made, nn.Module)
    return made


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "compiled inside parallel": lambda network: nn.DataParallel(compiled(network)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_networks_export_as_what_they_wrap(trained: Classifier, traced: bytes, name: str) -> None:
    plain = copy.deepcopy(trained.network)
    wrapped = copy.deepcopy(trained)
    wrapped.network = WRAPPERS[name](plain)
    assert type(wrapped.network) is not type(plain)
    assert data(trace(wrapped, SHAPE)) == traced


def test_the_users_model_is_left_as_it_was(make_classifier: MakeClassifier, rng_untouched: None) -> None:
    model = make_classifier()
    model.train()
    model.network[1].eval()  # type: ignore[index]
    next(model.parameters()).requires_grad_(False)
    next(model.head.parameters()).grad = torch.ones(10, 64)
    modes = [part.training for part in model.modules()]
    flags = [weight.requires_grad for weight in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    trace(model, SHAPE)
    export_module(model, torch.float64)
    assert [part.training for part in model.modules()] == modes
    assert [weight.requires_grad for weight in model.parameters()] == flags
    assert {weight.grad is None for weight in model.head.parameters()} == {True, False}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in model.parameters()} == {torch.float32}


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        answer: Tensor = self.head(flat if x.sum() > 0 else -flat)
        return answer


def test_what_cannot_be_traced_is_said_in_three_parts(make_classifier: MakeClassifier) -> None:
    with pytest.raises(ExportError) as caught:
        trace(make_classifier(DataDependent), SHAPE)
    error = caught.value
    assert "can't trace" in error.seen
    assert "without data-dependent control flow" in error.expected
    assert "torch.where instead of if" in error.instead
    assert "\n" not in str(error)


class Attentive(nn.Module):
    """Layer norm, attention, GELU, interpolation: what other users' networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        tokens = self.embed(x.flatten(1).reshape(x.shape[0], 4, 4))
        mixed, _ = self.attention(tokens, tokens, tokens)
        answer: Tensor = self.head(functional.gelu(self.norm(tokens + mixed)).mean(1))
        return answer


@pytest.mark.parametrize("build", [Attentive, lambda: small_cnn(1, 3, 16)], ids=["attention", "larger cnn"])
def test_other_networks_pass_the_gate(
    make_classifier: MakeClassifier, build: Callable[[], nn.Module]
) -> None:
    model = make_classifier(build)
    size = 16 if not isinstance(model.network, Attentive) else 8
    x = torch.from_numpy(np.random.default_rng(0).random((15, 1, size, size), dtype=np.float32))
    session = Session(data(trace(model, (1, size, size))))
    parity = check_parity(model, session, x)
    assert parity.max_error <= parity.tolerance < 1e-3


def test_a_failed_trace_is_said_once_and_in_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.layer(x.flatten(1))
            return logits if logits.sum() > 0 else -logits

    with pytest.raises(ExportError) as caught:
        trace(Classifier(Branching()), (1, 2, 2))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert "data-dependent" in caught.value.seen
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert logging.root.manager.disable == logging.NOTSET
