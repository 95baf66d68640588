"""Detection of a launcher that has started this process as one of several."""

from __future__ import annotations

import os
from typing import Final

from harden.errors import InputError

_RANKS: Final = ("RANK", "LOCAL_RANK")
_SIZES: Final = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_MEETING: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables with which the processes find each other, as torchrun and accelerate launch set them."""


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
            "one process: `harden run` under torchrun or accelerate launch alone works in several",
            f"start it without torchrun, accelerate launch or mpirun; where they are not yours, "
            f"run it under `env -u {names}`",
        )


def launched() -> bool:
    """Return whether torchrun or accelerate launch started this process as one of several.

    Raises:
        InputError: the environment names a rank or several processes, and not the address at which they meet
            (mpirun sets none).
    """
    if all(os.environ.get(name) for name in _MEETING):
        return os.environ["WORLD_SIZE"] != "1"
    check_alone()
    return False
