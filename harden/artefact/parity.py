"""The parity gate: a graph passes when it computes what the network computes, up to float32 rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.graph import deployed
from harden.artefact.session import Session
from harden.errors import ExportError
from harden.models import Classifier

BATCHES = (1, 3, 5)
_NETWORK_ERRORS = 8.0
_ROUNDING = 64.0


@final
@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate saw: max_error <= tolerance in logits, over batches of these sizes."""

    tolerance: float
    max_error: float
    batches: tuple[int, ...]


@torch.no_grad()
def check_parity(model: Classifier, session: Session, x: Tensor) -> Parity:
    """Compare a graph with the network it was traced from, on images x (N, C, H, W), clean and adversarial.

    With y64 from a float64 copy of the network and y32 from a float32 one, the graph's logits z must satisfy
    max |z - y64| <= tol = max(8 max|y32 - y64|, 64 eps32 max|y64|), eps32 = 2^-23; and a changed label counts
    where the float64 margin exceeds 2 tol. Batches of 1, 3 and 5 show that the batch size is free.

    Raises:
        ExportError: the graph computes something else.
    """
    single, double = deployed(model), deployed(model, torch.float64)
    image = x.detach().cpu().float()
    y64 = double(image.double()).numpy()
    y32 = single(image).numpy()
    scale, own = float(np.abs(y64).max()), float(np.abs(y32 - y64).max())
    tolerance = max(_NETWORK_ERRORS * own, _ROUNDING * 2.0**-23 * scale)
    worst = 0.0
    for batch in BATCHES:
        for start in range(0, len(image), batch):
            chunk = slice(start, start + batch)
            answer = session(image[chunk].numpy())
            error = np.abs(answer - y64[chunk])
            worst = max(worst, float(error.max()) if np.isfinite(error).all() else float("inf"))
            changed = _changed_labels(answer, y64[chunk], tolerance)
            if not worst <= tolerance or changed:
                seen = f"logits that differ by {worst:.3g} in batches of {batch}, {changed} labels changed"
                raise ExportError(
                    seen,
                    f"at most {tolerance:.3g} from the network in float64",
                    "look for randomness, training-mode layers or float64 constants in the network's forward",
                )
    return Parity(tolerance, worst, BATCHES)


def _changed_labels(answer: NDArray[np.float32], truth: NDArray[np.float64], tolerance: float) -> int:
    top = np.sort(truth, axis=1)
    clear = (
        top[:, -1] - top[:, -2] > 2 * tolerance if truth.shape[1] > 1 else np.zeros(len(truth), dtype=bool)
    )
    return int((clear & (answer.argmax(1) != truth.argmax(1))).sum())
