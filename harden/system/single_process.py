"""Check that a launcher has not started this process as one of several."""

from __future__ import annotations

import os
from typing import Final

from harden.errors import InputError

_RANKS: Final = ("RANK", "LOCAL_RANK")
_SIZES: Final = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


def check_alone() -> None:
    """Raise InputError in a process that torchrun, accelerate launch or mpirun started as one of several.

    Each of them would do the whole job and write to the same folder, and processes that block in a rendezvous
    react to no signal. So all ranks are refused, the first one too, which alone would block.

    Raises:
        InputError: the environment names a rank, or more than one process.
    """
    found = [f"{name}={os.environ[name]}" for name in _RANKS if os.environ.get(name)]
    found += [f"{name}={size}" for name in _SIZES if (size := os.environ.get(name)) and size != "1"]
    if found:
        names = " -u ".join(each.partition("=")[0] for each in found)
        raise InputError(
            f"{' and '.join(found)} in the environment, which a launcher of several processes sets",
            "one process: several are not supported",
            f"start it without torchrun, accelerate launch or mpirun; where they are not yours, "
            f"run it under `env -u {names}`",
        )
