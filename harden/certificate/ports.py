"""Names of the input and the output of an exported file."""

from __future__ import annotations

from typing import Final

INPUT: Final = "image"
OUTPUT: Final = "logits"
