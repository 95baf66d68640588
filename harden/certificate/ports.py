"""What an exported file calls its one input and its one output."""

from __future__ import annotations

from typing import Final

INPUT: Final = "image"
OUTPUT: Final = "logits"
