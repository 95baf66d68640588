"""harden init: what a repository needs to gate a model, from templates; all files are written, or none."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import final

from harden.cli.options.types import writable
from harden.cli.output.console import say, write_file
from harden.errors import InputError
from harden.system import package_metadata
from harden.system.safe_folders import check_inner
from harden.threats import from_name

_TARGETS = (
    ("harden.toml", "harden.toml"),
    ("test_robustness.txt", "tests/test_robustness.py"),
    ("github.yml", ".github/workflows/robustness.yml"),
)
_GITLAB, _GITLAB_BESIDE = ".gitlab-ci.yml", "robustness.gitlab-ci.yml"
_BASELINE = "robustness-baseline.json"
_PLACE = re.compile(r"<<(\w+)>>")
# What would end a string or mean something else in TOML, Python, YAML, a shell or GitHub's expressions.
_AWKWARD = re.compile(r"[\"'\\`$]|\{\{|<<|^-")


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """What the files are to say.

    Attributes:
        model: the ONNX file, relative to the repository's root.
        data: a data spec, its paths likewise.
        norm: linf, l2 or l1.
        eps: the budget, as text.
        install: what the jobs install, as pip takes it; empty for the harden that runs.
    """

    model: str
    data: str
    norm: str
    eps: str
    install: str = ""

    def __post_init__(self) -> None:
        from_name(self.norm, self.eps)
        for option in ("model", "data", "norm", "eps", "install"):
            text = getattr(self, option)
            if text != text.strip() or not text.isprintable() or _AWKWARD.search(text):
                raise InputError(
                    f"--{option} {text!r}",
                    "text without quotes, backslashes, $ and line breaks, which four kinds of files can hold",
                    "rename the file, or write the value into the files by hand",
                )

    def values(self, install: str) -> dict[str, str]:
        """What stands for each place in a template."""
        report = "--junit robustness-report/junit.xml --html robustness-report/page.html"
        return {
            "model": self.model,
            "data": self.data,
            "norm": self.norm,
            "eps": self.eps,
            "threat": f"harden.{from_name(self.norm, self.eps)}",
            "install": install,
            "check": f"harden check {shlex.quote(self.model)} --config harden.toml {report}",
        }


def init(folder: Path, wanted: Wanted, force: bool) -> int:
    """Write the files and say what comes next.

    Raises:
        InputError: a file is there already, or can't be written; then none was.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}, which is no folder", "a repository's folder", "make it first")
    install, sure = (wanted.install, True) if wanted.install else _running(wanted.data == "digits")
    values = wanted.values(install)
    gitlab = _gitlab(folder)
    files = {
        folder / target: _PLACE.sub(lambda place: values[place[1]], _template(name))
        for name, target in (*_TARGETS, ("gitlab.yml", gitlab))
    }
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
    _tell(folder, wanted, [str(path.relative_to(folder)) for path in files])
    if not sure:
        say(f"the jobs install {install!r}: make sure that your index has this one, or write --install")
    return 0


def _gitlab(folder: Path) -> str:
    """Where the job for GitLab goes: a pipeline that is there, and is not one of ours, stays as it is."""
    path = folder / _GITLAB
    if not os.path.lexists(path):
        return _GITLAB
    first = _template("gitlab.yml").splitlines()[0].encode()
    ours = path.is_file() and path.read_bytes().splitlines()[:1] == [first]
    return _GITLAB if ours else _GITLAB_BESIDE


def _running(digits: bool) -> tuple[str, bool]:
    """What installs the harden that runs, and whether that is known: pip notes where it came from."""
    name = f"{package_metadata.NAME}[demo]" if digits else package_metadata.NAME
    found = package_metadata.installed()
    note = None if found is None else found.read_text("direct_url.json")
    if note is None:
        return f"{name}=={package_metadata.VERSION}", found is not None
    origin = json.loads(note)
    vcs = origin.get("vcs_info", {})
    if "commit_id" in vcs:
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}", True
    # From a folder or a file of this machine, which no job has.
    return f"{name}=={package_metadata.VERSION}", False


def _tell(folder: Path, wanted: Wanted, written: list[str]) -> None:
    for name in written:
        say(f"wrote {folder / name}")
    if _GITLAB_BESIDE in written:
        say(f"add to {_GITLAB}, under include:  - local: {_GITLAB_BESIDE}")
    enter = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    say("next, with the model to keep:")
    say(f"  {enter}harden baseline update {shlex.quote(wanted.model)}")
    say("then commit:")
    say(f"  {enter}git add {' '.join(shlex.quote(name) for name in (*written, _BASELINE))}")
    needed = [wanted.model, *_files_of(wanted.data)]
    missing = [name for name in needed if not (folder / name).exists()]
    say(f"the jobs need {' and '.join(needed)} too: commit, or let a step before the check bring them")
    if missing:
        say(f"not there yet: {', '.join(missing)}")


def _files_of(data: str) -> list[str]:
    kind, _, path = data.partition(":")
    return [path] if kind in ("npz", "folder") else []


def _template(name: str) -> str:
    return (resources.files("harden.cli") / "templates" / name).read_text(encoding="utf-8")
