"""An installation without torch, or without parts of the command line: it works, or one line says what is
missing and what installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harden.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
TRAINING = ("torch", "torchvision", "scipy", "accelerate", "safetensors", "PIL", "onnxscript", "sklearn")
VERIFYING = (*TRAINING, "typer", "rich", "pydantic", "jinja2", "click", "shellingham", "markupsafe")
SCRIPT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
{code}
"""
COMMAND = "from harden.cli import main\nsys.exit(main({words!r}))"


def without(names: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(names=names, code=code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )


def command(names: tuple[str, ...], *words: object) -> subprocess.CompletedProcess[str]:
    return without(names, COMMAND.format(words=[str(word) for word in words]))


def assert_one_line(done: subprocess.CompletedProcess[str], module: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"harden: no {module} that can be imported")
    assert f"pip install {module}" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_help_of_every_command_needs_no_torch(name: str) -> None:
    done = command(TRAINING, *name.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout or "usage:" in done.stdout


def test_report_doctor_verify_and_load_need_no_torch(folder: Path) -> None:
    page = folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    done = command(TRAINING, "report", folder)
    assert (done.returncode, done.stderr, page.read_bytes()) == (0, "", before)
    done = command(TRAINING, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "harden-vision" in done.stdout
    assert command(TRAINING, "verify", folder).returncode == 0
    code = f"import harden\nprint(harden.load({str(folder)!r}).session.classes, harden.__version__)"
    done = without(TRAINING, code)
    assert (done.returncode, done.stderr, done.stdout.split()[0]) == (0, "", "10")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--data", "digits", "--out", "out"),
        ("evaluate", "small", "--data", "digits"),
        ("check", "model.onnx", "--data", "digits"),
        ("demo",),
    ],
    ids=lambda words: words[0],
)
def test_what_needs_torch_says_so_in_one_line(words: tuple[str, ...]) -> None:
    assert_one_line(command(TRAINING, *words), "torch")


@pytest.mark.parametrize("module", ["typer", "rich", "pydantic", "jinja2"])
def test_a_missing_part_of_the_command_line_is_named(module: str, folder: Path) -> None:
    assert_one_line(command((module,), "report", folder), module)


def test_four_packages_verify_and_say_what_else_would_be_needed(folder: Path) -> None:
    done = command(VERIFYING, "verify", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_one_line(command(VERIFYING, "--help"), "typer")


def test_a_public_name_that_needs_torch_says_what_to_install() -> None:
    done = without(TRAINING, "import harden\nharden.Classifier")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ModuleNotFoundError: no torch that can be imported, which harden.Classifier needs"
    )
    assert "pip install harden-vision" in last
