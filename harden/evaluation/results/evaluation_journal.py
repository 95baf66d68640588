"""Journal of an evaluation: its finished batches on disk, from which it is resumed to the same result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from harden.data import Batch
from harden.description import JSON
from harden.errors import InputError
from harden.evaluation.proofs.code_digest import ATTACKS, code_digest
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchOutcome, BatchWitnesses, TrustCounts
from harden.evaluation.results.result import TrustCheck
from harden.models import Classifier
from harden.models.snapshot import (
    Snapshot,
    as_facts,
    digest_of,
    read_snapshot,
    tensors_of,
    write_snapshot,
)
from harden.system.atomic_files import read_bytes, write_text
from harden.system.folder_lock import LOCK_FILE
from harden.system.nesting_limits import json_value
from harden.system.safe_folders import make_folder
from harden.system.size_limits import JSON_BYTES

PLAN_FILE = "evaluation.json"
_VERDICTS = ("labels", "predictions", "broken_by", "broken_at")
_BATCH = "batch-{:06d}.safetensors"


@final
class EvaluationJournal:
    """A folder with a file for each finished batch, and one that identifies the evaluation.

    Files are written whole or not at all, also after a power cut. Witnesses are stored without their clean
    images, which the data contain; a batch whose images or labels differ from the stored ones is refused.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def opened(cls, folder: Path, plan: Mapping[str, JSON], model: Classifier) -> EvaluationJournal:
        """Open the journal of an evaluation, or create it.

        Args:
            folder: empty, missing, or of an evaluation with the same plan and weights.
            plan: the inputs of the result: threat, attempts, seed; a digest of the code is added.
            model: whose weights are compared with those at the start.

        Raises:
            InputError: the folder contains something else, or the journal of another evaluation.
        """
        code = code_digest(ATTACKS)
        own = as_facts({**plan, "weights": digest_of(tensors_of(model)), "code": code})
        path = folder / PLAN_FILE
        if path.exists():
            _check_same(folder, _read(path), own)
        elif folder.exists() and (
            not folder.is_dir() or any(each.name != LOCK_FILE for each in folder.iterdir())
        ):
            raise InputError(
                f"{folder}, which is no journal of an evaluation and not empty",
                "an empty or missing folder, or the journal of an evaluation that was interrupted",
                "name another folder",
            )
        else:
            make_folder(folder)
            write_text(path, json.dumps(own, indent=1, sort_keys=True) + "\n")
        return cls(folder)

    def read(self, number: int, batch: Batch) -> BatchOutcome | None:
        """The outcome of a batch, or of its first images; None where it was not finished.

        An evaluation with a time limit keeps parts of batches.

        Raises:
            InputError: the file is damaged, or of other images or labels.
        """
        path = self._folder / _BATCH.format(number)
        if not path.exists():
            return None
        try:
            return self._restored(read_snapshot(path), number, batch)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputError(
                f"{path} ({reason})", "a batch that harden kept", "name another folder to begin anew"
            ) from None

    def _restored(self, kept: Snapshot, number: int, batch: Batch) -> BatchOutcome:
        n = len(kept.tensors["labels"])
        batch = Batch(batch.x[:n], batch.y[:n], batch.index[:n])
        if kept.facts["batch"] != _digest(batch):
            raise InputError(
                f"images or labels in batch {number} that differ from those in {self._folder}",
                "the same data in the same order, in batches of the same size",
                "name another folder to begin anew",
            )
        index, facts = kept.tensors["index"], kept.facts
        rows = index - int(batch.index[0])
        found = BatchWitnesses(
            index,
            kept.tensors["labels"][rows],
            kept.tensors["prediction"],
            _clean(batch, facts["bounds"])[rows],
            kept.tensors["witness"],
        )
        labels, predictions, by, at = (kept.tensors[name] for name in _VERDICTS)
        return BatchOutcome(
            labels=labels,
            predictions=predictions,
            broken_by=by,
            broken_at=at,
            found=(found,),
            efforts=tuple(AttemptTotals(**effort) for effort in facts["efforts"]),
            signs=TrustCounts(**facts["signs"]),
            passes=facts["passes"],
            seconds=facts["seconds"],
            checks=tuple(TrustCheck(**check) for check in facts["checks"]),
        )

    def write(self, number: int, batch: Batch, outcome: BatchOutcome, bounds: tuple[float, float]) -> None:
        """Store the outcome of a batch, whose pixels lie in these bounds."""
        columns = {
            name: torch.cat([getattr(one, name) for one in outcome.found])
            for name in ("index", "prediction", "witness")
        }
        facts = {
            "batch": _digest(batch),
            "bounds": list(bounds),
            "efforts": [asdict(effort) for effort in outcome.efforts],
            "signs": asdict(outcome.signs),
            "passes": outcome.passes,
            "seconds": outcome.seconds,
            "checks": [asdict(check) for check in outcome.checks],
        }
        tensors = {**columns, **{name: getattr(outcome, name) for name in _VERDICTS}}
        write_snapshot(Snapshot(tensors, facts), self._folder / _BATCH.format(number))


def _digest(batch: Batch) -> str:
    return digest_of({"x": batch.x, "y": batch.y})


def _clean(batch: Batch, bounds: list[float]) -> Tensor:
    return batch.x.float().clamp(*bounds).cpu()


def _read(path: Path) -> JSON:
    try:
        plan: JSON = json_value(read_bytes(path, JSON_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} ({error})", "the plan of an evaluation", "name another folder to begin anew"
        ) from None
    return plan


def _check_same(folder: Path, kept: JSON, own: JSON) -> None:
    if kept == own:
        return
    parts = [
        key for key in sorted({*_dict(kept), *_dict(own)}) if _dict(kept).get(key) != _dict(own).get(key)
    ]
    raise InputError(
        f"{folder}, the journal of an evaluation with another {', '.join(parts)}",
        "the same model, threat, attempts and seed",
        "name another folder to begin anew",
    )


def _dict(plan: JSON) -> dict[str, JSON]:
    return plan if isinstance(plan, dict) else {}
