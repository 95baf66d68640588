"""Writing of evidence.npz: the witnesses, for replay by anyone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harden.certificate.schema import ArrayRecord, EvidenceRecord
from harden.evaluation import Witnesses
from harden.system.atomic_files import write_bytes


def write_evidence(path: Path, witnesses: Witnesses) -> EvidenceRecord:
    """Write index, label (M,), original and witness (M, C, H, W) of every broken example; describe them."""
    arrays: dict[str, NDArray[Any]] = {
        "index": witnesses.index.numpy().astype(np.int64),
        "label": witnesses.label.numpy().astype(np.int64),
        "original": witnesses.original.numpy().astype(np.float32),
        "witness": witnesses.witness.numpy().astype(np.float32),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub reads ** as its flag
    write_bytes(path, buffer.getvalue())
    described = {
        name: ArrayRecord(dtype=str(array.dtype), shape=array.shape) for name, array in arrays.items()
    }
    return EvidenceRecord(witnesses=len(witnesses), arrays=described)
