"""Files from templates that gate a repository's model in CI: options, a test, jobs for GitHub and GitLab."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, final

from harden.errors import InputError
from harden.system import package_metadata
from harden.threats import from_name

GITLAB_INCLUDED: Final = "robustness.gitlab-ci.yml"
"""The file of the GitLab job where the repository has a pipeline of its own, which has to include it."""

_TARGETS = (
    ("harden.toml", "harden.toml"),
    ("test_robustness.txt", "tests/test_robustness.py"),
    ("github.yml", ".github/workflows/robustness.yml"),
)
GITLAB: Final = ".gitlab-ci.yml"
_PLACE = re.compile(r"<<(\w+)>>")
# What would end a string or mean something else in TOML, Python, YAML, a shell or GitHub's expressions.
_AWKWARD = re.compile(r"[\"'\\`$]|\{\{|<<|^-")


@final
@dataclass(frozen=True, slots=True)
class GateTarget:
    """The model, data and threat that a repository's gate is set up for.

    Args:
        model: the ONNX file, relative to the repository's root.
        data: a data spec, its paths likewise.
        norm: linf, l2 or l1.
        eps: the budget, as text.
        install: the requirement that the jobs install, as pip takes it; "" for the running harden.

    Raises:
        InputError: one of them has characters that not all of the files can hold, or there is no such threat.
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

    @property
    def needed_files(self) -> list[str]:
        """The files that the jobs read: the model, and the data where they lie in the repository."""
        kind, _, path = self.data.partition(":")
        return [self.model, *([path] if kind in ("npz", "folder") else [])]

    def requirement(self) -> tuple[str, bool]:
        """The requirement that the jobs install, and whether an index is known to have it."""
        return (self.install, True) if self.install else _running(self.data == "digits")

    def files(self, folder: Path) -> dict[Path, str]:
        """The files by their paths below a repository's folder; nothing is written."""
        report = "--junit robustness-report/junit.xml --html robustness-report/page.html"
        values = {
            "model": self.model,
            "data": self.data,
            "norm": self.norm,
            "eps": self.eps,
            "threat": f"harden.{from_name(self.norm, self.eps)}",
            "install": self.requirement()[0],
            "check": f"harden check {shlex.quote(self.model)} --config harden.toml {report}",
        }
        return {
            folder / target: _PLACE.sub(lambda place: values[place[1]], _template(name))
            for name, target in (*_TARGETS, ("gitlab.yml", _gitlab(folder)))
        }


def _gitlab(folder: Path) -> str:
    """The file of the GitLab job: an existing pipeline that is not one of ours is left unchanged."""
    path = folder / GITLAB
    if not os.path.lexists(path):
        return GITLAB
    first = _template("gitlab.yml").splitlines()[0].encode()
    ours = path.is_file() and path.read_bytes().splitlines()[:1] == [first]
    return GITLAB if ours else GITLAB_INCLUDED


def _running(digits: bool) -> tuple[str, bool]:
    """The requirement of the running harden, from pip's record of its origin, and whether an index has it."""
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


def _template(name: str) -> str:
    return (resources.files("harden.regression") / "templates" / name).read_text(encoding="utf-8")
