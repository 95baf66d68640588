"""harden init: all files are written, or none."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from harden.cli.options.shared_options import writable
from harden.cli.output.console import say, write_file
from harden.errors import InputError
from harden.regression.repository_setup import GITLAB, GITLAB_INCLUDED, GateTarget
from harden.system.safe_folders import check_inner

_BASELINE = "robustness-baseline.json"


def init(folder: Path, target: GateTarget, force: bool) -> int:
    """Write the files that gate a model, and print the next commands.

    Raises:
        InputError: a file exists already, or can't be written; then none was.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}, which is no folder", "a repository's folder", "make it first")
    files = target.files(folder)
    if (there := [str(path) for path in files if os.path.lexists(path)]) and not force:
        raise InputError(
            f"{', '.join(there)}: already there",
            "none of the files that harden init writes",
            "move them away, or write --force to replace them",
        )
    for path in files:
        writable(path)
        check_inner(folder, *path.relative_to(folder).parent.parts)
    for path, content in files.items():
        write_file(path, content, named=False)
    _print_next(folder, target, [str(path.relative_to(folder)) for path in files])
    install, known = target.requirement()
    if not known:
        say(f"the jobs install {install!r}: make sure that your index has this one, or write --install")
    return 0


def _print_next(folder: Path, target: GateTarget, written: list[str]) -> None:
    for name in written:
        say(f"wrote {folder / name}")
    if GITLAB_INCLUDED in written:
        say(f"add to {GITLAB}, under include:  - local: {GITLAB_INCLUDED}")
    enter = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    say("next, with the model to keep:")
    say(f"  {enter}harden baseline update {shlex.quote(target.model)}")
    say("then commit:")
    say(f"  {enter}git add {' '.join(shlex.quote(name) for name in (*written, _BASELINE))}")
    needed = target.needed_files
    missing = [name for name in needed if not (folder / name).exists()]
    say(f"the jobs need {' and '.join(needed)} too: commit, or let a step before the check bring them")
    if missing:
        say(f"not there yet: {', '.join(missing)}")
