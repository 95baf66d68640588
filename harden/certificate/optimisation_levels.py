"""Levels of onnxruntime's graph optimisation; at each a file may be executed as another graph.

https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import onnxruntime

TESTED: Final = "1.31.1"
"""The newest onnxruntime with which this project's tests compare bounds at every level."""

_LEVEL = onnxruntime.GraphOptimizationLevel
LEVELS: Final[Mapping[str, onnxruntime.GraphOptimizationLevel]] = MappingProxyType(
    {
        "disabled": _LEVEL.ORT_DISABLE_ALL,
        "basic": _LEVEL.ORT_ENABLE_BASIC,
        "extended": _LEVEL.ORT_ENABLE_EXTENDED,
        "all": _LEVEL.ORT_ENABLE_ALL,
    }
)
"""By name."""
DEFAULT: Final = "all"
"""The level of a session that is given no other."""
