"""Nodes written in place of fused ones: free names, and activations with their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from harden.graph.executed.node_builder import NodeBuilder, add_activated, add_convolution, attributes_of
from harden.graph.reading.node_view import UnsupportedError

LARGEST = float(np.finfo(np.float32).max)


def builder() -> NodeBuilder:
    return NodeBuilder({"w": np.ones((1, 1, 1, 1), np.float32)}, {"x", "w", "y", "standard_4"})


def activated(kind: str, **attributes: Any) -> NodeBuilder:
    """What is written for a fused convolution with an activation."""
    nodes = builder()
    fused = helper.make_node("FusedConv", ["x", "w"], ["y"], activation=kind, **attributes)
    add_activated(nodes, fused, lambda last: nodes.add("Conv", ["x", "w"], output=last))
    return nodes


def test_names_are_free_and_none_is_given_twice() -> None:
    nodes = builder()
    given = [nodes.fresh(), nodes.constant(np.zeros(2, np.float32)), nodes.add("Relu", ["x"])]
    assert len({*given, "x", "w", "y", "standard_4"}) == 7
    assert given[1] in nodes.constants
    assert list(nodes.made[0].output) == [given[2]]


@pytest.mark.parametrize(
    ("kind", "attributes", "found"),
    [
        ("Relu", {}, {}),
        ("LeakyRelu", {"activation_params": [0.25]}, {"alpha": 0.25}),
        ("LeakyRelu", {"activation_alpha": 0.25}, {"alpha": 0.25}),
        ("HardSigmoid", {"activation_params": [0.25, 0.5]}, {"alpha": 0.25, "beta": 0.5}),
        ("HardSigmoid", {"activation_beta": 0.5}, {"beta": 0.5}),
    ],
)
def test_an_activation_has_its_parameters(
    kind: str, attributes: dict[str, Any], found: dict[str, Any]
) -> None:
    first, last = activated(kind, **attributes).made
    assert (first.op_type, last.op_type) == ("Conv", kind)
    assert (list(last.input), list(last.output)) == (list(first.output), ["y"])
    assert attributes_of(last) == found


def test_an_end_of_a_clip_that_is_the_largest_number_is_open() -> None:
    nodes = activated("Clip", activation_params=[-0.5, LARGEST])
    _, low, high = nodes.made[-1].input
    assert nodes.constants[low] == np.float32(-0.5)
    assert high == ""


def test_a_convolution_without_more_is_one_node() -> None:
    nodes, fused = builder(), helper.make_node("FusedConv", ["x", "w"], ["y"], strides=[2, 2], activation="")
    add_convolution(nodes, fused, ["x", "w"], group=1)
    (made,) = nodes.made
    assert (made.op_type, list(made.output)) == ("Conv", ["y"])
    assert attributes_of(made) == {"strides": [2, 2], "group": 1}


def test_a_value_that_is_added_comes_before_the_activation() -> None:
    nodes, fused = builder(), helper.make_node("FusedConv", ["x", "w", "", "z"], ["y"], activation="Relu")
    add_convolution(nodes, fused, fused.input)
    assert [made.op_type for made in nodes.made] == ["Conv", "Add", "Relu"]
    assert nodes.made[1].input[1] == "z"


@pytest.mark.parametrize("attributes", [{}, {"activation_params": [0.0]}])
def test_another_activation_is_refused(attributes: dict[str, Any]) -> None:
    for kind in ("Softmax", "Clip"):
        with pytest.raises(UnsupportedError, match=f"the activation {kind}"):
            activated(kind, **attributes)
