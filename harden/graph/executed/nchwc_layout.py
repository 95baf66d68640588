"""onnxruntime's blocked layout NCHWc, which a session chooses for images on x86-64, as plain NCHW.

Channels are padded to whole blocks of c, 8 or 16 by the processor, and a convolution's weights (O, I, h, w)
are stored as (O / c, I / c, h, w, c of I, c of O), or as (O / c, I, h, w, c of O) where each group has one
channel or the input is not blocked. Here channels lose their padding, so that most weights are the very bytes
of the graph before, by whose digest they are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import onnx

from harden.graph.executed.node_builder import NodeBuilder, add_activated, add_convolution, attributes_of
from harden.graph.reading.known_values import Array
from harden.graph.reading.node_view import UnsupportedError

BLOCKS: Final = (8, 16)
_WINDOW: Final = (
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "strides",
)
_AXES: Final = 4
_KNOWN: Final = (
    "Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Upsample", "ReorderInput",
    "ReorderOutput",
)  # fmt: skip


@final
@dataclass(slots=True)
class StoredWeights:
    """Convolution weights before they were blocked, by the digest of the blocked bytes; None for several."""

    by_digest: dict[str, Array | None] = field(default_factory=dict)

    def learn(self, weight: Array) -> None:
        """Add a weight (O, I, h, w) in every layout that it may get."""
        if weight.ndim != _AXES or weight.dtype != np.float32 or not weight.size:
            return
        for block in BLOCKS:
            for inputs_too in (False, True):
                digest = _digest(blocked(weight, block, inputs_too))
                known = self.by_digest.setdefault(digest, weight)
                if known is not weight and (known is None or not np.array_equal(known, weight)):
                    self.by_digest[digest] = None  # another order of the same numbers: which, no one knows

    def find(self, stored: Array) -> Array | None:
        """The weight (O, I, h, w) whose blocked form is stored, if that is known and no other's."""
        return self.by_digest.get(_digest(stored))


def blocked(weight: Array, block: int, inputs_too: bool) -> Array:
    """A weight (O, I, h, w) in the blocked layout, its channels padded with 0, under its padded shape.

    Args:
        weight: as ONNX has it.
        block: channels in a block.
        inputs_too: whether input channels are blocked, not output channels alone.
    """
    outputs, inputs, high, wide = weight.shape
    o, i = -(-outputs // block), -(-inputs // block) if inputs_too else inputs
    padded = np.zeros((o * block, i * block if inputs_too else i, high, wide), dtype=weight.dtype)
    padded[:outputs, :inputs] = weight
    if inputs_too:
        parts = padded.reshape(o, block, i, block, high, wide).transpose(0, 2, 4, 5, 3, 1)
    else:
        parts = padded.reshape(o, block, i, high, wide).transpose(0, 2, 3, 4, 1)
    return np.ascontiguousarray(parts).reshape(padded.shape)


@final
@dataclass(slots=True)
class NchwcLayout:
    """The blocked operators of one graph, in order.

    Args:
        nodes: what was written so far.
        weights: of the graph before it was blocked.
        channels: of each blocked value, without its padding; None where that is not known.
    """

    nodes: NodeBuilder
    weights: StoredWeights
    channels: dict[str, int | None] = field(default_factory=dict)

    def take(self, node: onnx.NodeProto) -> None:
        """Write one operator of the layout as ONNX's own.

        Raises:
            UnsupportedError: it has no such form.
        """
        if node.op_type not in _KNOWN:
            raise UnsupportedError("no form in ONNX's own operators")
        rules: dict[str, Callable[[onnx.NodeProto], None]] = {
            "Conv": self._convolution,
            "Upsample": self._upsample,
            "ReorderInput": self._from_plain,
            "ReorderOutput": self._to_plain,
        }
        rules.get(node.op_type, self._pooling)(node)

    def follow(self, node: onnx.NodeProto) -> None:
        """Note the channels of what one of ONNX's own operators gives, where its inputs are blocked."""
        known = [self.channels[name] for name in node.input if name in self.channels]
        if not known:
            return
        whole = [each for each in known if each is not None]
        found = known[0] if len(whole) == len(known) else None
        if node.op_type == "Concat" and found is not None:
            found = sum(whole)
        for output in node.output:
            self.channels[output] = found

    def _convolution(self, node: onnx.NodeProto) -> None:
        x, w, *rest = node.input
        stored = self.nodes.constants[w]
        weight, group = self.weights.find(stored), int(attributes_of(node).get("group", 1))
        if weight is None:
            weight = self._by_channel(stored, group, self.channels.get(x))
        if group > 1 and weight.shape[1] == 1 and group == len(stored):  # padded too
            group = len(weight)
        b, z = (*rest, "", "")[:2]
        if b:
            b = self.nodes.constant(self.nodes.constants[b][: len(weight)])
        inputs = (x, self.nodes.constant(weight), b, z)
        add_convolution(self.nodes, node, inputs, group=group)
        self.channels[node.output[0]] = len(weight)

    def _by_channel(self, stored: Array, group: int, channels: int | None) -> Array:
        """Weights that the change of layout made itself, such as those of a BatchNorm: by channel alone."""
        if group != stored.shape[0] or stored.shape[1:] != (1, 1, 1) or channels is None:
            raise UnsupportedError("weights that are not those of the graph before")
        return stored[:channels]  # one number a channel lies in the same order in both layouts

    def _pooling(self, node: onnx.NodeProto) -> None:
        kept = {name: each for name, each in attributes_of(node).items() if name in _WINDOW}
        add_activated(
            self.nodes, node, lambda last: self.nodes.add(node.op_type, node.input[:1], output=last, **kept)
        )
        self.channels[node.output[0]] = self.channels.get(node.input[0])

    def _upsample(self, node: onnx.NodeProto) -> None:
        given = attributes_of(node)
        scales = self.nodes.constant(np.array(given["scales"], dtype=np.float32))
        settings: dict[str, Any] = {"mode": given.get("mode", b"nearest").decode()}
        place = given.get("coordinate_transformation_mode", b"asymmetric").decode()
        if settings["mode"] == "nearest":
            settings["nearest_mode"] = "floor"
        self.nodes.add(
            "Resize",
            [node.input[0], "", scales],
            output=node.output[0],
            coordinate_transformation_mode=place,
            **settings,
        )
        self.channels[node.output[0]] = self.channels.get(node.input[0])

    def _from_plain(self, node: onnx.NodeProto) -> None:
        if attributes_of(node).get("channels_last", 0):
            raise UnsupportedError("channels last")
        self.nodes.add("Identity", node.input[:1], output=node.output[0])
        self.channels[node.output[0]] = None

    def _to_plain(self, node: onnx.NodeProto) -> None:
        given = attributes_of(node)
        known = self.channels.get(node.input[0])
        if known is not None and known != int(given["channels"]):
            raise UnsupportedError(f"{known} channels, of which {given['channels']} are read")
        if not given.get("channels_last", 0):
            self.nodes.add("Identity", node.input[:1], output=node.output[0])
        else:
            self.nodes.add("Transpose", node.input[:1], output=node.output[0], perm=[0, 2, 3, 1])


def _digest(stored: Array) -> str:
    content = np.ascontiguousarray(stored).tobytes()
    return f"{stored.shape}{hashlib.sha256(content).hexdigest()}"
