"""Progress of a run on disk, which the first of its processes keeps for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harden.description import JSON
from harden.errors import HardenError
from harden.models.snapshot import Snapshot
from harden.system.folder_lock import held_folder
from harden.system.ranks import Ranks
from harden.training import Checkpoints
from harden.training.checkpointing.run_checkpoints import CheckpointWriter


@final
@dataclass(frozen=True, slots=True, eq=False)
class RunProgress:
    """The plan of a run, and its progress on disk.

    Attributes:
        plan: all inputs of the run.
        keeper: the writer of checkpoints; None in other processes than the first, and without checkpoints.
        found: the snapshot to resume from, in every process; None for a run that begins.
    """

    plan: Mapping[str, JSON]
    keeper: CheckpointWriter | None = None
    found: Snapshot | None = None


@contextmanager
def opened_progress(
    checkpoints: Checkpoints | None, plan: dict[str, JSON], ranks: Ranks
) -> Iterator[RunProgress]:
    """Lock and open a run's folder in the first process; a run that is refused leaves no files in it.

    Args:
        checkpoints: the folder; None for a run without one.
        plan: all inputs of the run.
        ranks: the processes, which all call this.

    Raises:
        InputError: in all processes: the folder is in use, or holds another run.
    """
    if checkpoints is None:
        yield RunProgress(plan)
        return
    keepers: list[CheckpointWriter] = []
    with ExitStack() as stack:

        def open_folder() -> Snapshot | None:
            stack.enter_context(held_folder(Path(checkpoints.folder)))
            keepers.append(CheckpointWriter(checkpoints, plan))
            return keepers[0].found

        found = ranks.on_main(open_folder)
        try:
            yield RunProgress(keepers[0].plan if keepers else plan, next(iter(keepers), None), found)
        except HardenError:
            for keeper in keepers:
                keeper.withdraw()
            raise
