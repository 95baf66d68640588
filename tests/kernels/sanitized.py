"""What `make sanitize` names first: the sanitized library in the place of the other.

It shows that faults are seen. Not collected by name, for everywhere else it would fail.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harden.kernels import backend, load_library

FOLDER = Path(__file__).parents[2] / "build" / "sanitize"
# On import, so before any test asks what runs.
load_library._CHOSEN.setdefault("cpu", load_library.choose("_cpu", folder=FOLDER))

# Tensors that torch takes in good faith: one ends before its shape does, the other lies where no float can.
SHORT = "np.lib.stride_tricks.as_strided(np.zeros(262144, np.float32), (1, 262160), (0, 4))"
ASKEW = "np.frombuffer(bytearray(65), np.float32, 16, 1).reshape(1, 16)"
PROGRAM = """
import sys
from pathlib import Path
import numpy as np, torch
from harden.kernels import load_library
load_library.load_module(Path(sys.argv[1]))
torch.set_num_threads(2)
x_adv = torch.from_numpy({array})
x, alpha = torch.zeros(x_adv.shape), torch.ones(1)
print("begun", flush=True)
torch.ops.harden.linf_step_(x_adv, x, x + 1, alpha, alpha, 0.0, 1.0)
print("unseen", flush=True)
"""


def test_the_sanitized_library_runs() -> None:
    assert backend().name == "native", backend().reason
    assert backend().build.endswith("sanitized")


@pytest.mark.parametrize(
    ("array", "report"),
    [
        # The end belongs to the second of two threads: torch's own are watched too.
        (SHORT, ["AddressSanitizer: heap-buffer-overflow", "linf.cpp", "created by T0 here"]),
        (ASKEW, ["runtime error: ", "misaligned address", "linf.cpp"]),
    ],
)
def test_a_fault_ends_the_process(array: str, report: list[str]) -> None:
    program = PROGRAM.format(array=array)
    command = [sys.executable, "-c", program, str(FOLDER / "_cpu.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == "begun\n"
    assert [words for words in report if words not in done.stderr] == []
