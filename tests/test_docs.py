"""The documentation: its code runs, its links resolve, the commands and names in it are those of the code."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typer.main import get_command

import harden
from harden.cli.app import app
from harden.data import load
from harden.verifier.verify_command import main as verify

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for folder in (".", "docs", "cpp_ext", "benchmarks", "examples", "examples/ci")
    for page in (ROOT / folder).glob("*.md")
)
RUNNABLE = [ROOT / "README.md", ROOT / "docs" / "guide.md"]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`\n]+)`")
BUDGET = re.compile(r'budget="[^"]+"')


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(page.read_text()) if found == language]


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(_prose(page)))
    return {heading.replace(" ", "-") for heading in plain}


def _commands() -> dict[str, set[str]]:
    """The command line's commands, each with its options, those of its own commands and those of all."""
    group: Any = get_command(app)
    everywhere = {"--help", *(option for part in group.params for option in part.opts)}
    return {
        name: everywhere
        | {
            option
            for each in (command, *getattr(command, "commands", {}).values())
            for part in each.params
            for option in part.opts
            if option[0] == "-"
        }
        for name, command in group.commands.items()
    }


def _command_lines(page: Path) -> list[list[str]]:
    """The words of every `harden ...` in code, blocks and inline."""
    joined = [code.replace("\\\n", " ") for _, code in FENCE.findall(page.read_text())]
    lines = [line for code in joined for line in code.splitlines()] + INLINE.findall(_prose(page))
    words = [shlex.split(line, comments=True) for line in lines if line.strip().startswith("harden ")]
    return [line for line in words if len(line) > 1 and re.fullmatch(r"[a-z-]+", line[1])]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a reader of the examples brings along, at toy size: a network and two loaders of colour images."""
    monkeypatch.chdir(tmp_path)
    splits = load("digits")
    loaders = {}
    for name, part, count in (("train", splits.train, 64), ("test", splits.test, 32)):
        batch = part.batch(torch.arange(count))
        images = TensorDataset(batch.x.expand(-1, 3, -1, -1).contiguous(), batch.y)
        loaders[f"{name}_loader"] = DataLoader(images, batch_size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(72, 10)),
        )
    return {"__name__": "a_readers_module", "my_net": network, **loaders}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_blocks_compile(page: Path) -> None:
    for code in _blocks(page, "python"):
        ast.parse(code, filename=str(page))


@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_python_blocks_run_in_order(
    page: Path, toys: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Under a name of its own: dataclasses look their module up by it.
    module = types.ModuleType(toys["__name__"])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(toys)
    for code in _blocks(page, "python"):
        toy = BUDGET.sub('budget="30E"', code)
        exec(compile(toy, f"{_name(page)}, toy size", "exec", dont_inherit=True), vars(module))
    printed = capsys.readouterr().out
    assert "robust accuracy, by attack" in printed
    assert "no proof was attempted" in printed
    assert verify(["out"]) == 0
    # What other pages do with such a folder.
    images, labels = next(iter(toys["test_loader"]))
    names: dict[str, Any] = {"harden": harden, "images": images[:2], "labels": labels[:2]}
    for other in ("certificate.md", "bounds.md"):
        code = _blocks(ROOT / "docs" / other, "python")[0]
        exec(compile(code, other, "exec", dont_inherit=True), names)
    assert names["verification"].ok
    assert capsys.readouterr().out.endswith("of 2 proved\n")


def test_the_section_for_devices_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text()
    section = page.partition("\n## For a device\n")[2].partition("\n## ")[0]
    (code,) = [code for found, code in FENCE.findall(section) if found == "python"]
    model = harden.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    part = load("digits").test.batch(torch.arange(12))
    loader = DataLoader(TensorDataset(part.x, (part.y >= 5).long()), batch_size=5)
    names = {"harden": harden, "model": model, "test_loader": loader}
    exec(compile(code, "For a device", "exec", dont_inherit=True), names)
    printed = capsys.readouterr().out
    assert "Rate(clean=" in printed
    assert "pixelate" in printed


def test_the_first_blocks_of_the_evaluation_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    net, other = (harden.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))) for _ in range(2))
    part = load("digits").test.batch(torch.arange(6))
    loader = DataLoader(TensorDataset(part.x, part.y), batch_size=6)
    names: dict[str, Any] = {"harden": harden, "model": net, "other": other, "test_loader": loader}
    blocks = [code for code in _blocks(ROOT / "docs" / "evaluation.md", "python") if "hardened" not in code]
    for code in blocks[:3]:
        exec(compile(code, "docs/evaluation.md", "exec", dont_inherit=True), names)
    assert [attempt.name for attempt in names["attempts"]] == ["square", "rays", "transfer", "averaged"]
    assert len(names["results"]) == 3
    assert "(n = 6)" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_resolve(page: Path) -> None:
    for target in LINK.findall(_prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} leads nowhere"
        assert linked.is_relative_to(ROOT), f"{target} leads out of the repository"
        if anchor:
            assert anchor in _anchors(linked), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_and_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = _commands()
    verify(["--help"])  # which the verifier parses by itself
    known["verify"] |= set(re.findall(r"--\w+", capsys.readouterr().out))
    for line in _command_lines(page):
        assert line[1] in known, f"there is no harden {line[1]}"
        for word in line[2:]:
            option = word.partition("=")[0]
            if option.startswith("-"):
                assert option in known[line[1]], f"harden {line[1]} has no {option}"


def test_options_named_alone_exist() -> None:
    known = set().union(*_commands().values())
    for page in (*RUNNABLE, ROOT / "docs" / "evaluation.md", ROOT / "docs" / "threat-models.md"):
        for code in INLINE.findall(_prose(page)):
            for option in re.findall(r"^--[a-z0-9-]+", code):
                assert option in known, f"{_name(page)}: no command has {option}"


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `harden (\w+)`", readme, re.MULTILINE))
    assert listed == set(_commands())


def test_the_design_page_lists_the_layers_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (part for part in settings["contracts"] if part["name"] == "layers")
    section = (ROOT / "docs" / "design.md").read_text().partition("\n## Layers\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == contract["layers"]


@pytest.mark.parametrize("name", harden.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    code = "\n".join(
        part for page in PAGES for part in (*_blocks(page, "python"), *INLINE.findall(_prose(page)))
    )
    assert re.search(rf"\b{name}\b", code), f"no page names {name}"


def test_the_documents_stand_alone() -> None:
    # A page must not point to a place that only its author has.
    absolute = re.compile(r"""(?:^|[\s`"'(=])/\w+/\w""", re.MULTILINE)
    for page in PAGES:
        assert not absolute.search(page.read_text()), f"{_name(page)} names a path of some machine"


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert version in (ROOT / "CHANGELOG.md").read_text()
