"""A row of the table: what a user does, and the whole of what is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import harden
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.errors import HardenError, InputError
from harden.evaluation import pgd_suite
from harden.hardening import Recipe
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.objectives import Standard
from harden.threats import Linf

THREAT = Linf("1/10")
QUICK = pgd_suite(1, 1)
RECIPE = Recipe(finetune=Standard(), validations=0)
RUN = ("--out", "out", "--eps", "1/10", "--budget", "1epochs", "--finetune", "standard")
FAST = ("--steps", "1", "--restarts", "1")

Door = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """What is done, in a folder that is then compared, and the three parts of the answer.

    The parts are compared as a whole; `…` stands for another library's words, {place} for the folder.
    """

    name: str
    door: Door
    seen: str
    expected: str
    instead: str
    kind: type[HardenError] = InputError


@dataclass(frozen=True)
class Answer:
    """What a command left behind in a terminal."""

    code: int
    out: str
    err: str


def ids(rows: Iterable[Any]) -> list[Any]:
    """The rows as pytest's parameters, each under its name."""
    return [pytest.param(row, id=row.name) for row in rows]


def pattern(part: str, place: Path) -> str:
    """A regular expression for a part of a message."""
    return re.escape(part.replace("{place}", str(place))).replace("…", ".+")


def refused(row: Row, place: Path) -> HardenError:
    """Go through the door and check all of what is raised, and that the folder is as before."""
    before = listing(place)
    with pytest.raises(row.kind) as caught:
        row.door(place)
    error = caught.value
    assert type(error) is row.kind
    assert error.exit_code == 2
    for said, wanted in zip(
        (error.seen, error.expected, error.instead), (row.seen, row.expected, row.instead), strict=True
    ):
        assert re.fullmatch(pattern(wanted, place), said), said
    assert str(error) == f"{error.seen}; expected {error.expected}; {error.instead}"
    assert "\n" not in str(error)
    assert listing(place) == before, "something was written"
    return error


def check_line(answer: Answer, seen: str, expected: str, instead: str, place: Path) -> None:
    """Check that a command said one line in three parts, all of it, and ended with 2."""
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    line = f"harden: {seen}; expected {expected}; {instead}"
    assert re.fullmatch(pattern(line, place) + "\n", answer.err), answer.err
    assert answer.err.count("\n") == 1


def listing(place: Path) -> dict[str, bytes | None]:
    """Every file with its content and every folder below a place, but for compiled Python."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None
        for path in place.rglob("*")
        if "__pycache__" not in path.parts
    }


def built(network: Callable[[], nn.Module] = small_cnn, **normalisation: tuple[float, ...]) -> Classifier:
    """A classifier whose weights depend on nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(network(), **normalisation)  # type: ignore[arg-type]


def by_harden(data: object, model: Classifier | None = None, **more: Any) -> object:
    """`harden.harden`, as short as it can be."""
    more = {"threat": THREAT, "recipe": RECIPE, "budget": "1epochs", **more}
    return harden.harden(model or built(), data, **more)


def by_evaluate(data: object, model: Classifier | None = None) -> object:
    """`harden.evaluate`."""
    return harden.evaluate(model or built(), data, THREAT, QUICK)


def by_export(data: object, model: Classifier | None = None, folder: str = "out") -> object:
    """Export into a folder of the working folder."""
    return export(model or built(), folder, data, Claim(THREAT, QUICK))


DOORS: dict[str, Callable[..., object]] = {"harden": by_harden, "evaluate": by_evaluate, "export": by_export}


class Listed(Dataset[tuple[Tensor, Tensor]]):
    """A dataset that shows its labels with its images alone."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.x[position], self.y[position]


FORMS: dict[str, tuple[str, Callable[[Tensor, Tensor], object]]] = {
    "pair": ("(x, y)", lambda x, y: (x, y)),
    "loader": ("DataLoader over TensorDataset", lambda x, y: DataLoader(TensorDataset(x, y), 40)),
    "opaque-loader": ("DataLoader over Listed", lambda x, y: DataLoader(Listed(x, y), 40)),
    "dataset": ("DataLoader over Listed", lambda x, y: Listed(x, y)),
    "batches": ("list", lambda x, y: [(x[:20], y[:20]), (x[20:], y[20:])]),
    "iterator": ("list_iterator", lambda x, y: iter([(x, y)])),
}
"""What to call data in a message, and how they are given."""


def pictures(channels: int = 1) -> Tensor:
    """40 images (C, 8, 8) that reach 0 and 1 in the first one."""
    x = torch.rand(40, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0], x[0, :, 0, 1] = 0.0, 1.0
    return x


def classes() -> Tensor:
    """40 labels of 10 classes."""
    return torch.arange(40) % 10
