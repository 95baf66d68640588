"""The command itself: its version, `python -m harden`, and completion of words in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harden as package

Harden = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def module(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harden", *words],
        # The shell is named: what is above a test's process may be none.
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_version_is_said(harden: Harden) -> None:
    answer = harden("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"harden {package.__version__}\n", "")


def test_the_package_runs_as_the_command() -> None:
    done = module("--version")
    assert (done.returncode, done.stdout) == (0, f"harden {package.__version__}\n")
    assert module("evaluat").returncode == 2


def test_words_are_completed() -> None:
    for words, at, found in (("harden eva", "1", ["evaluate"]), ("harden run --budg", "2", ["--budget"])):
        done = module(_HARDEN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=at)
        assert (done.returncode, done.stdout.split()) == (0, found), done.stderr


def test_completion_is_shown_and_installed(tmp_path: Path) -> None:
    shown = module("--show-completion", "bash")
    assert shown.returncode == 0
    assert "complete -o default -F _harden_completion harden" in shown.stdout
    installed = module("--install-completion", "bash", HOME=str(tmp_path))
    assert installed.returncode == 0, installed.stderr
    assert "harden.sh" in (tmp_path / ".bashrc").read_text()
    assert "_HARDEN_COMPLETE=complete_bash" in next(tmp_path.rglob("harden.sh")).read_text()
