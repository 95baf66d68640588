"""Folders of images for the tests of their reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def lay(root: Path, *parts: str, classes: tuple[str, ...] = ("cat", "dog"), n: int = 6) -> Path:
    """Folders of n unlike images for each class of each part."""
    random = np.random.default_rng(len(parts))
    for part in parts or ("",):
        for name in classes:
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(n):
                Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return root
