"""Keeps each finished part of a search for proofs, so that an interrupted one can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, final

from torch import Tensor

from harden.description import JSON
from harden.errors import InputError
from harden.files import make_folder


@final
class ProofJournal:
    """A file of lines: the plan first, then one for each part of images that was tried at a radius.

    A line that a power cut has left unfinished is dropped, and its part tried again.

    Args:
        path: a file; what is in it is read, and what is new is added.
        plan: what the result depends on: file, data, threat and method.

    Raises:
        InputError: the file belongs to another plan, is none of these files, or can't be written.
    """

    def __init__(self, path: Path, plan: Mapping[str, JSON]) -> None:
        self._path = path
        self._known: dict[tuple[int, int], bool] = {}
        own = json.loads(json.dumps(plan, sort_keys=True))
        try:
            make_folder(path.parent)
            lines = _whole_lines(path)
            if not lines:
                self._add({"plan": own}, fresh=True)
        except OSError as error:
            raise InputError(
                f"{path} ({error.strerror})", "a file that can be written", "name another folder"
            ) from None
        if lines and lines[0].get("plan") != own:
            raise InputError(
                f"{path}, the proofs of another file, other data or another method",
                "the journal of the same command",
                "name another folder to begin anew",
            )
        for line in lines[1:]:
            for at, proved in zip(line["ids"], line["proved"], strict=True):
                self._known[int(line["level"]), int(at)] = bool(proved)

    def read(self, level: int, ids: Tensor) -> list[bool]:
        """Whether images were proved at a level, of these up to the first that was not tried to the end."""
        known = takewhile(lambda at: (level, at) in self._known, ids.tolist())
        return [self._known[level, at] for at in known]

    def write(self, level: int, ids: Tensor, proved: Tensor) -> None:
        """Keep what was found."""
        self._add({"level": level, "ids": ids.tolist(), "proved": proved.tolist()})

    def _add(self, line: Mapping[str, Any], *, fresh: bool = False) -> None:
        with self._path.open("w" if fresh else "a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written to their end; what follows them is cut off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    lines: list[dict[str, Any]] = []
    try:
        for each in whole.splitlines():
            line = json.loads(each)
            if not isinstance(line, dict):
                raise ValueError(each)
            lines.append(line)
    except ValueError:
        raise InputError(
            f"{path}", "the journal of a search for proofs", "name another folder to begin anew"
        ) from None
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return lines
