"""The parity gate: comparison of a graph with its network, up to float32 rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.parity.float64_reference import Precision, ReferenceLogits, reference
from harden.errors import ExportError, HardenError
from harden.graph.exporting.torch_exporter import export_module
from harden.models import Classifier
from harden.models.out_of_memory import ran_out_of_memory

BATCHES = (1, 3, 5)
_NETWORK_ERRORS = 8.0
_ROUNDING = 64.0
_OWN_LIMIT = 2.0**-8
"""A network whose answers in float32 and in the reference differ by more than this share of its largest logit
is refused: its own error sets the tolerance, and a tolerance so wide would let a wrong graph pass."""
_ADVICE = "check for randomness, training-mode layers or float64 constants in the network's forward"
_BATCH_ADVICE = "write x.shape[0] instead of a number in the network's forward"


@final
@dataclass(frozen=True, slots=True)
class Parity:
    """The result of the gate: max_error <= tolerance in logits, over batches of these sizes.

    Attributes:
        tolerance: in logits.
        max_error: in logits.
        batches: their sizes.
        reference: precision in which the network was computed, float64 or float32.
    """

    tolerance: float
    max_error: float
    batches: tuple[int, ...]
    reference: Precision = "float64"


class GraphRuntime(Protocol):
    """An executable graph."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        ...

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W)."""
        ...


@torch.no_grad()
def check_parity(model: Classifier, session: GraphRuntime, x: Tensor) -> Parity:
    """Compare a graph with the network it was traced from, on images x (N, C, H, W), clean and adversarial.

    With y64 from a float64 copy of the network and y32 from a float32 one, the graph's logits z must satisfy
    max |z - y64| <= tol = max(8 max|y32 - y64|, 64 eps32 max|y64|), eps32 = 2^-23; and a changed label counts
    where the float64 margin exceeds 2 tol. A network that can't run in float64 is compared with itself in
    float32, and max|y32 - y64| is estimated from other float32 executions; see `reference`. Batches of 1, 3
    and 5 show that the batch size is free. The network itself must be deterministic, and in float32 close to
    the reference.

    Raises:
        ExportError: the graph computes other logits, or the network is not deterministic.
    """
    image = x.detach().cpu().float()
    found = _reference(model, image)
    truth = found.logits
    tolerance = max(_NETWORK_ERRORS * found.own, _ROUNDING * 2.0**-23 * found.scale)
    worst = 0.0
    for batch in BATCHES:
        for start in range(0, len(image), batch):
            chunk = slice(start, start + batch)
            answer = _answer(session, image[chunk], truth[chunk].shape)
            error = np.abs(answer - truth[chunk])
            worst = max(worst, float(error.max()) if np.isfinite(error).all() else float("inf"))
            changed = _changed_labels(answer, truth[chunk], tolerance)
            if not worst <= tolerance or changed:
                seen = f"logits that differ by {worst:.3g} in batches of {batch}, {changed} labels changed"
                expected = f"at most {tolerance:.3g} from the network in {found.precision}"
                raise ExportError(seen, expected, _ADVICE)
    return Parity(tolerance, worst, BATCHES, found.precision)


def _reference(model: Classifier, image: Tensor) -> ReferenceLogits:
    """The reference logits, after a check that the network is deterministic."""
    single = export_module(model)
    try:
        y32, again = single(image).numpy(), single(image).numpy()
        _check_finite(y32)
        apart = float(np.abs(again - y32).max())
        if apart > _ROUNDING * 2.0**-23 * float(np.abs(y32).max()):
            seen = f"a network whose logits differ by {apart:.3g} between two forwards"
            raise ExportError(seen, "the same logits for the same images", _ADVICE)
        found = reference(model, single, image)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if ran_out_of_memory(error):
            raise
        raise _fails("a network", len(image), error) from error
    _check_finite(found.logits)
    if found.own > _OWN_LIMIT * found.scale:
        kinds = "float32 and float64" if found.precision == "float64" else "several executions in float32"
        seen = f"a network whose logits in {kinds} differ by {found.own:.3g} of {found.scale:.3g}"
        raise ExportError(seen, f"at most {_OWN_LIMIT * found.scale:.3g}", _ADVICE)
    return found


def _check_finite(logits: NDArray[np.floating[Any]]) -> None:
    """Refuse logits (N, K) that are not finite; classes that are masked with -inf are named."""
    finite = np.isfinite(logits)
    if finite.all():
        return
    masked = (logits == -np.inf) & finite.any(1, keepdims=True)
    if not (finite | masked).all():
        raise ExportError("logits that are not finite", "a number for each class", _ADVICE)
    classes = ", ".join(str(each) for each in masked.any(0).nonzero()[0][:5])
    raise ExportError(
        f"logits of -inf for class {classes} on {masked.any(1).sum()} of {len(logits)} images",
        "a number for each class, or no distance to the network is defined",
        "mask the class with -1e4, or leave it out of the network",
    )


def _answer(session: GraphRuntime, image: Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        answer = session(image.numpy())
    except HardenError as error:
        if image.shape[1:] != session.image_shape:
            raise
        raise _fails("a graph", len(image), error.__cause__ or error) from error
    if answer.shape != shape:
        raise ExportError(f"a graph with logits of shape {answer.shape}", f"shape {shape}", _BATCH_ADVICE)
    return answer


def _fails(what: str, batch: int, error: BaseException) -> ExportError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)[:160]
    return ExportError(
        f"{what} that fails on a batch of {batch} ({reason})", "any batch size to pass", _BATCH_ADVICE
    )


def _changed_labels(answer: NDArray[np.float32], truth: NDArray[np.float64], tolerance: float) -> int:
    top = np.sort(truth, axis=1)
    clear = (
        top[:, -1] - top[:, -2] > 2 * tolerance if truth.shape[1] > 1 else np.zeros(len(truth), dtype=bool)
    )
    return int((clear & (answer.argmax(1) != truth.argmax(1))).sum())
