"""Journal of a search for proofs: its finished parts on disk, from which it is resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from harden.description import JSON
from harden.errors import InputError
from harden.evaluation.proofs.code_digest import PROOFS, code_digest
from harden.system.atomic_files import append_bytes, read_bytes, shorten
from harden.system.nesting_limits import json_value
from harden.system.safe_folders import make_folder
from harden.system.size_limits import JOURNAL_BYTES

_SUM: Final = "sum"
_CODE: Final = "code"
_PARTS: Final = frozenset({"level", "ids", "proved"})


@final
class ProofJournal:
    """A file of lines: the plan first, then one for each part of images that was tried at a radius.

    Every line ends in a checksum over itself and the checksum before it, and the plan contains a
    digest of the code: a line that was changed, moved, or taken from another journal is refused, and so is a
    journal of another version of the bounds. This detects accidents, not forgery: whoever can write the file
    can compute checksums, and the proofs in it are not repeated.

    A line that a power cut left unfinished is dropped, and its part tried again.

    Args:
        path: a file, which is read and appended to.
        plan: the inputs of the result: file, data, threat and method.

    Raises:
        InputError: the file belongs to another plan or other code, is damaged, is none of these files, or
            can't be written.
    """

    def __init__(self, path: Path, plan: Mapping[str, JSON]) -> None:
        self._path = path
        self._known: dict[tuple[int, int], bool] = {}
        self._last = ""
        own = json.loads(json.dumps({**plan, _CODE: code_digest(PROOFS)}, sort_keys=True))
        try:
            make_folder(path.parent)
            lines = self._whole_lines()
            if not lines:
                self._add({"plan": own})
        except OSError as error:
            raise InputError(
                f"{path} ({error.strerror})", "a file that can be written", "name another folder"
            ) from None
        if lines:
            self._check_plan(lines[0], own)
        for number, line in enumerate(lines):
            self._accept(number, line)

    def read(self, level: int, ids: Tensor) -> list[bool]:
        """Return whether images were proved at a level, up to the first one that was not finished."""
        known = takewhile(lambda at: (level, at) in self._known, ids.tolist())
        return [self._known[level, at] for at in known]

    def write(self, level: int, ids: Tensor, proved: Tensor) -> None:
        """Append the results of some images at a level."""
        self._add({"level": level, "ids": ids.tolist(), "proved": proved.tolist()})

    def _add(self, line: Mapping[str, Any]) -> None:
        self._last = _sum_of(self._last, line)
        written = json.dumps({**line, _SUM: self._last}, sort_keys=True) + "\n"
        append_bytes(self._path, written.encode())

    def _check_plan(self, line: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        kept = line.get("plan")
        if kept == own:
            return
        other = {name for name in own if not isinstance(kept, dict) or kept.get(name) != own[name]}
        seen = (
            "the proofs of another version of harden's bounds"
            if other == {_CODE}
            else "the proofs of another file, other data or another method"
        )
        raise InputError(
            f"{self._path}, {seen}", "the journal of the same command", "name another folder to begin anew"
        )

    def _accept(self, number: int, line: dict[str, Any]) -> None:
        """Accept a line whose checksum follows from it and from all lines before it."""
        recorded = line.pop(_SUM, None)
        self._last = _sum_of(self._last, line)
        if recorded != self._last:
            raise self._damaged(f"whose line {number + 1} differs from its checksum")
        if number == 0:
            return
        if line.keys() != _PARTS or not _is_part(line):
            raise self._damaged(f"whose line {number + 1} is no part of a search")
        for at, proved in zip(line["ids"], line["proved"], strict=True):
            self._known[line["level"], at] = proved

    def _whole_lines(self) -> list[dict[str, Any]]:
        """The complete lines; an incomplete last one is cut off the file."""
        if not os.path.lexists(self._path):
            return []
        content = read_bytes(self._path, JOURNAL_BYTES)
        whole = content[: content.rfind(b"\n") + 1]
        lines: list[dict[str, Any]] = []
        try:
            for each in whole.splitlines():
                line = json_value(each)
                if not isinstance(line, dict):
                    raise ValueError("no object")
                lines.append(line)
        except (ValueError, RecursionError):
            raise self._damaged() from None
        if whole != content:
            shorten(self._path, len(whole))
        return lines

    def _damaged(self, how: str = "") -> InputError:
        seen = f"{self._path}, {how}" if how else f"{self._path}"
        return InputError(seen, "the journal of a search for proofs", "name another folder to begin anew")


def _sum_of(before: str, line: Mapping[str, Any]) -> str:
    content = json.dumps(line, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{content}".encode()).hexdigest()


def _is_part(line: Mapping[str, Any]) -> bool:
    level, ids, proved = line["level"], line["ids"], line["proved"]
    if not isinstance(ids, list) or not isinstance(proved, list) or len(ids) != len(proved):
        return False
    numbers = type(level) is int and level > 0 and all(type(at) is int and at >= 0 for at in ids)
    return numbers and all(type(one) is bool for one in proved)
