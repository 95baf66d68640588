"""Snapshots of a run on disk, and the check that a resumed run has the same plan."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch

from harden import kernels
from harden.description import JSON, canonical_names, describe
from harden.errors import InputError
from harden.models.snapshot import Snapshot, as_facts, read_snapshot, write_snapshot
from harden.system.atomic_files import append_bytes, read_bytes, remove_file, write_text
from harden.system.nesting_limits import json_value
from harden.system.package_metadata import versions
from harden.system.ranks import joined
from harden.system.safe_folders import make_folder
from harden.system.size_limits import JSON_BYTES
from harden.training.guards.guard_options import Guards
from harden.training.schedules import Cosine

SNAPSHOT_FILE, PLAN_FILE, LIVE_FILE = "state.safetensors", "plan.json", "history.jsonl"

_COST_SHARE = 20.0  # least time between two snapshots, in multiples of the time to write one
_VERSIONS = "versions"
_CONSTANTS_OF_0_1: Final[dict[str, JSON]] = {
    "schedule": describe(Cosine(warmup=0.1)),
    "clip": 5.0,
    "guards": describe(Guards(rollbacks=0, checks=0)),
    "bfloat16": False,
    "max_clean_drop": None,
    "rate_probe": None,
    "validation_share": 1.0,
}
"""What harden 0.1 did in every run, and its plans do not say."""
_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Folder and frequency of a run's snapshots, from which a later process resumes it.

    Args:
        folder: folder for this run alone; created where it is missing. It holds `plan.json` (data, network
            and recipe), `state.safetensors` (the last snapshot) and `history.jsonl` (a line for each point of
            the history).
        resume: whether to resume from the folder; with an empty one the run starts anew.
        every: seconds between two snapshots at least; where writing one is slow, 20 times as long as that
            takes. The end of a stage is always kept.
        also: further values that must be equal for a run to be resumed, such as the options of its
            evaluation.

    Raises:
        InputError: `every` is negative.
    """

    folder: str | Path
    resume: bool = False
    every: float = 30.0
    also: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.every < float("inf"):
            raise InputError(f"a checkpoint every {self.every} s", "0 seconds or more", "write every=30")


@final
class CheckpointWriter:
    """Writer of a run's snapshots, which reads the last one of a run with the same plan.

    Raises:
        InputError: the folder holds an unfinished run, without `resume` or with another plan.
    """

    def __init__(self, checkpoints: Checkpoints, plan: dict[str, JSON]) -> None:
        self.folder, self.every = Path(checkpoints.folder), checkpoints.every
        self.plan = plan = {**plan, **checkpoints.also}
        self.found: Snapshot | None = None
        self._cost = 0.0
        if is_unfinished(self.folder):
            if not checkpoints.resume:
                raise InputError(
                    f"{self.folder}, the progress of a run that did not end",
                    "a folder without one",
                    "write --resume (in Python Checkpoints(..., resume=True)) to go on, or remove it",
                )
            check_same(read_plan(self.folder / PLAN_FILE), plan, str(self.folder))
            if (self.folder / SNAPSHOT_FILE).exists():
                self.found = read_snapshot(self.folder / SNAPSHOT_FILE)
        else:
            make_folder(self.folder)
            write_plan(plan, self.folder / PLAN_FILE)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time for the next snapshot."""
        return time.monotonic() - self._last >= max(self.every, _COST_SHARE * self._cost)

    def keep(self, snapshot: Snapshot) -> None:
        """Replace the last snapshot."""
        began = time.monotonic()
        write_snapshot(snapshot, self.folder / SNAPSHOT_FILE)
        self._last = time.monotonic()
        self._cost = self._last - began
        _log.info("progress kept in %s (%.2f s)", self.folder, self._cost)

    def withdraw(self) -> None:
        """Remove the files of a refused run that has no snapshot."""
        if not (self.folder / SNAPSHOT_FILE).exists():
            self.discard()

    def discard(self) -> None:
        """Remove the files of a run that can't be resumed."""
        for name in (SNAPSHOT_FILE, PLAN_FILE, LIVE_FILE):
            remove_file(self.folder / name)

    def begin_history(self, lines: Iterable[str]) -> None:
        """Write the live history with the lines up to the last snapshot."""
        write_text(self.folder / LIVE_FILE, "".join(f"{line}\n" for line in lines))

    def append_history(self, line: str) -> None:
        """Append a line to the live history."""
        append_bytes(self.folder / LIVE_FILE, f"{line}\n".encode(), flushed=False)


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds the progress of a run."""
    return any((folder / name).exists() for name in (PLAN_FILE, SNAPSHOT_FILE))


def write_plan(plan: Mapping[str, JSON], path: Path) -> None:
    """Write a plan with the versions of the software."""
    write_text(path, json.dumps({**plan, _VERSIONS: _versions()}, indent=2, sort_keys=True) + "\n")


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        plan = json_value(read_bytes(path, JSON_BYTES))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "damaged"
        raise InputError(
            f"{path} ({reason})", "the plan of a run", f"remove {path.parent} and start anew"
        ) from None
    if not isinstance(plan, dict):
        raise InputError(f"{path} (damaged)", "the plan of a run", f"remove {path.parent} and start anew")
    return plan


def check_same(known: Mapping[str, Any], plan: Mapping[str, JSON], place: str) -> None:
    """Raise InputError for another plan; other versions are logged alone.

    Raises:
        InputError: the plans differ; the message names the differences.
    """
    now = canonical_names(as_facts(dict(plan)))
    plan_before = {name: value for name, value in known.items() if name != _VERSIONS}
    if isinstance(recipe := plan_before.get("recipe"), dict):
        plan_before["recipe"] = {**_CONSTANTS_OF_0_1, **recipe}
    before = canonical_names(plan_before)
    other = [f"{path} {_short(then)}, now {_short(found)}" for path, then, found in differing(before, now)]
    if other:
        raise InputError(
            f"{place} of a run with {'; '.join(other[:3])}{' and more' if len(other) > 3 else ''}",
            "the same data, model and recipe to go on with",
            "give the options of that run, or another --out",
        )
    now_by = _versions()
    if known.get(_VERSIONS) != now_by:
        _log.warning(
            "%s was begun under %s and goes on under %s: the last bits may differ from an unbroken run",
            place,
            known.get(_VERSIONS),
            now_by,
        )


def _versions() -> dict[str, JSON]:
    """Return what may change the last bits: versions, number of threads and of processes, kernels."""
    found: dict[str, JSON] = {
        **versions(("harden", "torch")),
        "threads": torch.get_num_threads(),
        "kernels": kernels.backend("cpu").name,
    }
    size = joined().size
    return {**found, "processes": size} if size > 1 else found


def differing(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values that differ between two plans, by name: ("data.sha256", "ab...", "cd..."), for instance."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differing(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
    elif one != other:
        yield path, one, other


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:16]}..."
