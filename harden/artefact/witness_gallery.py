"""Gallery of witnesses as pictures for the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harden.certificate.schema import WitnessPair
from harden.evaluation import Evaluation

PAIRS = 8
LARGEST = 96


def gallery(found: Evaluation, classes: Sequence[str], pairs: int = PAIRS) -> tuple[WitnessPair, ...]:
    """Pairs of a clean image and its witness, spread evenly over the broken examples."""
    witnesses = found.witnesses
    count = min(pairs, len(witnesses))
    chosen = [len(witnesses) * k // count for k in range(count)]
    return tuple(_pair(found, classes, row) for row in chosen)


def _pair(found: Evaluation, classes: Sequence[str], row: int) -> WitnessPair:
    witnesses = found.witnesses
    original, witness = witnesses.original[row].numpy(), witnesses.witness[row].numpy()
    size = found.threat.size(witnesses.witness[row : row + 1] - witnesses.original[row : row + 1])
    difference = witness - original
    # Grey is no change; the largest change of this pair is black or white.
    shown = 0.5 + 0.5 * difference / max(float(np.abs(difference).max()), 1e-12)
    index = int(witnesses.index[row])
    return WitnessPair(
        index=index,
        label=classes[int(witnesses.label[row])],
        clean_prediction=classes[int(found.predictions[index])],
        adversarial_prediction=_name(classes, int(witnesses.prediction[row])),
        distance=float(size),
        clean_png=png(original),
        adversarial_png=png(witness),
        difference_png=png(shown),
    )


def _name(classes: Sequence[str], prediction: int) -> str:
    return classes[prediction] if prediction >= 0 else "not a number"


def png(image: NDArray[np.floating[Any]]) -> str:
    """An image (C, H, W) in [0, 1], C = 1 or 3 (of other depths the first channel), as base64 PNG."""
    pixels = np.round(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0])
    picture.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
