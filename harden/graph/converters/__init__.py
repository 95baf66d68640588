"""From a node of the file to one of our operations, by the ONNX operator's name."""

from __future__ import annotations

from harden.graph.call import Converter
from harden.graph.converters.elementwise import ELEMENTWISE
from harden.graph.converters.layers import LAYERS
from harden.graph.converters.pooling import POOLING
from harden.graph.converters.resizing import RESIZING
from harden.graph.converters.selecting import SELECTING
from harden.graph.converters.shaping import SHAPING

CONVERTERS: dict[str, Converter] = {**ELEMENTWISE, **LAYERS, **POOLING, **RESIZING, **SELECTING, **SHAPING}
