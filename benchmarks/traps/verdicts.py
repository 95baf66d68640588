"""Verdicts of harden on a trap, through the functions of its command line or in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from benchmarks.traps.frame import EPS, Trap, centre, write
from harden.bounds import Method, Program, SlopeAscent, certify
from harden.cli import OUR_FAULT, main
from harden.errors import InputError
from harden.graph import read
from harden.threats import Linf

PROVED: Final = ("unsat", "certified")


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer.

    Attributes:
        said: unsat, sat, unknown, certified, falsified, refused (exit code 2) or traceback (70).
        why: the line of a refusal or the end of a traceback.
    """

    said: str
    why: str = ""

    @property
    def proved(self) -> bool:
        """Whether harden claims that the property holds."""
        return self.said in PROVED


def of_bounds(trap: Trap) -> Verdict:
    """The verdict of the bounds alone, without attacks and further checks of the command.

    A claim that is not proved here is not proved by the commands either, which compute the same bounds.
    """
    y = torch.zeros(1, dtype=torch.int64)
    try:
        programs = _programs(trap)
        method = Method(climb=SlopeAscent(steps=5))
        proved = [certify(each, torch.from_numpy(centre()), y, Linf(EPS), method) for each in programs]
    except InputError as error:
        return Verdict("refused", str(error))
    except Exception as error:  # whatever it is, it is the finding
        return Verdict("traceback", f"{type(error).__name__}: {error}")
    return Verdict("certified" if all(bool(each.certified) for each in proved) else "unknown")


def _programs(trap: Trap) -> list[Program]:
    """Of every graph that onnxruntime executes, or of the file alone, before harden knew of the others."""
    if importlib.util.find_spec("harden.artefact.runtime.executed_programs") is None:
        return [Program.of(read(trap.model))]
    found = importlib.import_module("harden.artefact.runtime.executed_programs").executions(
        trap.model.SerializeToString()
    )
    return [each.program for each in found]


def of_property(trap: Trap, minutes: float, *, process: bool = False) -> Verdict:
    """The verdict of `harden certify FILE --vnnlib P`."""
    with tempfile.TemporaryDirectory() as folder:
        model, spec, _ = write(trap, Path(folder))
        words = ["certify", str(model), "--vnnlib", str(spec), "--minutes", str(minutes)]
        code, out, err = _processed(words) if process else _called(words)
        if code:
            return _failed(code, err or out)
        return Verdict(out.strip().splitlines()[-1])


def of_image(trap: Trap, minutes: float, *, process: bool = False) -> Verdict:
    """The verdict of `harden certify FILE --data npz:D` on the image at the centre of the box."""
    with tempfile.TemporaryDirectory() as folder:
        model, _, data = write(trap, Path(folder))
        found = Path(folder) / "proofs.json"
        words = ["certify", str(model), "--data", f"npz:{data}", "--eps", EPS, "--radius-steps", "0"]
        words += ["--attacks", "pgd", "--minutes", str(minutes), "--json", str(found)]
        code, out, err = _processed(words) if process else _called(words)
        if code not in (0, 1) or not found.exists():  # 1: attacks are not trusted; proofs are apart from that
            return _failed(code, err or out)
        return Verdict(str(json.loads(found.read_text())["verdicts"][0]))


def _failed(code: int, text: str) -> Verdict:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    why = " ".join(line.strip() for line in lines[-3:])[-400:]
    return Verdict("traceback" if code == OUR_FAULT else "refused" if code == 2 else f"exit {code}", why)


def _called(words: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


def _processed(words: Sequence[str]) -> tuple[int, str, str]:
    command = [str(Path(sys.executable).parent / "harden"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
