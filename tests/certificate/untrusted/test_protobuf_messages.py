"""Messages are counted on the bytes as protobuf counts them once it has made them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from harden.certificate.untrusted.protobuf_messages import check_messages
from harden.errors import InputError
from harden.system.size_limits import MODEL_MESSAGES


def model() -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "inner", [], [])
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("If", ["a"], ["b"], then_branch=inner, else_branch=inner),
    ]
    port = helper.make_tensor_value_info("image", 1, ["batch", 3, 8, 8])
    weight = numpy_helper.from_array(np.full((2, 3, 3, 3), 10, np.float32), "w")
    return helper.make_model(helper.make_graph(nodes, "g", [port], [port], [weight]))


def count(message: Any) -> int:
    total = 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            several = [value] if hasattr(value, "ListFields") else value
            total += sum(1 + count(each) for each in several)
    return total


def test_they_are_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    found = model()
    content, messages = found.SerializeToString(), count(found)
    assert messages > 20
    monkeypatch.setenv(MODEL_MESSAGES.variable, str(messages))
    check_messages(content)
    monkeypatch.setenv(MODEL_MESSAGES.variable, str(messages - 1))
    with pytest.raises(InputError, match=f"an ONNX file of {messages} messages"):
        check_messages(content)


def test_a_file_of_empty_nodes_is_refused_before_it_is_parsed() -> None:
    """Two bytes a node on the disk, more than a hundred in memory."""
    nodes = b"\x0a\x00" * (MODEL_MESSAGES.value + 1)
    content = b"\x3a" + varint(len(nodes)) + nodes
    tracemalloc.start()
    with pytest.raises(InputError, match="1,048,577 messages"):
        check_messages(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda tail: model().SerializeToString()[:150] + tail)
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_come_to_an_end(content: bytes) -> None:
    check_messages(content)
