"""What is kept is kept with the code that found it: a change in any file of it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harden.evaluation.proofs import code_digest
from harden.evaluation.proofs.code_digest import ATTACKS, PROOFS


def fresh(parts: tuple[str, ...]) -> str:
    return code_digest.code_digest.__wrapped__(parts)


@pytest.mark.parametrize("part", [*PROOFS, *ATTACKS])
def test_every_part_that_is_named_is_there(part: str) -> None:
    assert (Path(code_digest.__file__).parents[2] / part).exists()


@pytest.mark.parametrize(
    "changed", ["bounds/rules/affine_map.py", "statistics.py", "graph/reading/constant_folding.py"]
)
def test_a_change_of_one_file_is_another_digest(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "harden"
    shutil.copytree(Path(code_digest.__file__).parents[2], package, ignore=shutil.ignore_patterns("*.so"))
    installed = fresh(PROOFS)
    monkeypatch.setattr(code_digest, "_PACKAGE", package)
    assert fresh(PROOFS) == installed  # wherever it lies
    with (package / changed).open("a") as file:
        file.write("# mended\n")
    assert fresh(PROOFS) != installed


def test_another_version_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fresh(PROOFS)
    monkeypatch.setattr("harden.evaluation.proofs.code_digest.metadata.version", lambda name: "0.0")
    assert fresh(PROOFS) != before
