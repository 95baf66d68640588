from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harden.cli import main
from tests.bad_input.stock import stock
from tests.bad_input.table import Answer


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs `harden WORDS` in this process."""

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def stock_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, made once; tests work in a copy."""
    place = tmp_path_factory.mktemp("stock")
    stock(place)
    return place


@pytest.fixture
def stocked(stock_folder: Path, place: Path) -> Path:
    """A working folder with files of every kind."""
    return Path(shutil.copytree(stock_folder, place, dirs_exist_ok=True))
