from __future__ import annotations

import sys
from pathlib import Path

# `benchmarks` is no part of the installed package; the workers of a test import it by this path too.
sys.path.insert(0, str(Path(__file__).parents[2]))
