"""Data that a user's function returns, and functions that do not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harden.data import Splits, load
from harden.errors import InputError

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Arrays) -> Iterator[str]:
    np.savez(tmp_path / "raw.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "own_data_module.py").write_text(
        "import numpy as np, torch\n"
        "from harden.data import load\n"
        "raw = dict(np.load('raw.npz'))\n"
        "whole = lambda: load('npz:raw.npz')\n"
        "four = lambda: tuple(raw[k] for k in ('x_train', 'y_train', 'x_test', 'y_test'))\n"
        "keyed = lambda: raw | {'classes': ['a', 'b', 'c']}\n"
        "def tensors():\n"
        "    return [torch.from_numpy(v).permute(0, 3, 1, 2) if v.ndim == 4 else torch.from_numpy(v)\n"
        "            for v in four()]\n"
        "def one(): return raw['x_train']\n"
        "def part(): return {'x_train': raw['x_train']}\n"
        "def needs(path): return path\n"
        "def fails(): raise OSError('the disk is gone')\n"
        "number = 3\n"
    )
    (tmp_path / "own_broken_module.py").write_text("import absent_dependency\n")
    monkeypatch.chdir(tmp_path)
    yield "own_data_module"
    sys.modules.pop("own_data_module", None)


@pytest.mark.parametrize("function", ["whole", "four", "keyed", "tensors"])
def test_function(module: str, function: str) -> None:
    path = list(sys.path)
    splits = load(f"{module}:{function}")
    assert isinstance(splits, Splits)
    assert splits.train.digest() == load("npz:raw.npz").train.digest()
    assert sys.path == path


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("one", "returned ndarray"),
        ("part", "returned keys x_train"),
        ("needs", "needs arguments"),
        ("absent", "has no function 'absent'"),
        ("number", "has no function 'number'"),
    ],
)
def test_function_that_does_not_fit(module: str, function: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(f"{module}:{function}")


def test_what_a_users_module_raises_is_not_hidden(module: str) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        load(f"{module}:fails")
    with pytest.raises(ModuleNotFoundError, match="absent_dependency"):
        load("own_broken_module:load")
    with pytest.raises(InputError, match="no module 'own_absent_module'"):
        load("own_absent_module:load")


def test_a_functions_test_part_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_test_part.py").write_text(
        "import numpy as np\n"
        "x, y = np.arange(384, dtype=np.uint8).reshape(6, 8, 8), np.arange(6) % 2\n"
        "pair = lambda: (x, y)\n"
        "keyed = lambda: {'x_test': x, 'y_test': y}\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("pair", "keyed"):
        assert load(f"own_test_part:{name}", needs_train=False).is_test_alone
        with pytest.raises(InputError, match="returned"):
            load(f"own_test_part:{name}")
    sys.modules.pop("own_test_part")
