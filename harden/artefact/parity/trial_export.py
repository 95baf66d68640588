"""Trial export of a network before training, through the whole parity gate."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, final

from torch import Tensor

from harden.artefact.parity.parity_gate import Parity
from harden.artefact.parity.parity_gated_export import exported
from harden.artefact.runtime.executed_programs import executions
from harden.errors import ExportError, InputError
from harden.models import Classifier, float32_copy, plain
from harden.models.architecture import structure_of
from harden.models.pass_count import uncounted
from harden.threats import Threat

_REMEMBERED: Final = 64
_passed: OrderedDict[Hashable, Parity] = OrderedDict()


@final
@dataclass(frozen=True, slots=True)
class Exportability:
    """Result of a trial export.

    Attributes:
        parity: difference of the graph's logits from the network's.
        seconds: duration; near zero where the same network passed in this process before.
    """

    parity: Parity
    seconds: float


@plain()
@uncounted()
def check_exportable(
    model: Classifier, x: Tensor, y: Tensor, threat: Threat, *, proofs: bool = False
) -> Exportability:
    """Export a classifier as `Hardened.export` does, through the whole gate, and discard the file.

    A classifier of the same code and shapes that passed in this process is not tried again: the result
    depends on these, and not on the weights. The model is left unchanged; nothing is written.

    Args:
        model: trained or not.
        x: some images (N, C, H, W), of the size that the file will take.
        y: their labels (N,).
        threat: the threat model, since the gate compares adversarial images too.
        proofs: whether the graphs that onnxruntime executes for the file are read for proofs too.

    Raises:
        InputError: the graph's logits do not fit the labels.
        ExportError: the network can't be traced or translated, or the graph computes other logits; or an
            operation has no rule for bounds, with proofs=True.
    """
    began = time.monotonic()
    structure = structure_of(model)
    key = None if structure is None else (structure, tuple(x.shape[1:]), proofs)
    parity = _passed.get(key) if key is not None else None
    if parity is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a forward without gradients, which training warns of itself
            content, _, parity = exported(float32_copy(model), x, y, threat)
        if proofs:
            _check_provable(content)
    if key is not None:
        _passed[key] = parity
        while len(_passed) > _REMEMBERED:
            _passed.popitem(last=False)
    return Exportability(parity, time.monotonic() - began)


def _check_provable(content: bytes) -> None:
    """Read a file's graphs as proofs do, and refuse operations without a rule for bounds."""
    try:
        executions(content)
    except InputError as error:
        raise ExportError(
            f"a network of which nothing can be proved ({error.seen})",
            error.expected,
            "write the network in these, or leave out --prove: attacks need no bounds",
        ) from error
