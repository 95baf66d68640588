"""From a node of the file to one of our operations, by the ONNX operator's name."""

from __future__ import annotations

from harden.graph.converters.compare_and_select import SELECTING
from harden.graph.converters.elementwise import ELEMENTWISE
from harden.graph.converters.layers import LAYERS
from harden.graph.converters.pools import POOLING
from harden.graph.converters.resize_and_pad import RESIZING
from harden.graph.converters.shapes import SHAPING
from harden.graph.reading.node_view import Converter

CONVERTERS: dict[str, Converter] = {**ELEMENTWISE, **LAYERS, **POOLING, **RESIZING, **SELECTING, **SHAPING}
