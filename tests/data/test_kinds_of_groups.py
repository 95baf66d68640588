"""Groups of every kind that a dataset may have: read and kept whole, or refused, never passed over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

from harden.data import from_loader
from harden.data.sources import loader_adapter
from harden.errors import InputError


def unlike(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


class Tracks(TensorDataset):
    """40 images of four classes, in tracks of four."""

    def __init__(self, names: bool = False) -> None:
        super().__init__(unlike(40), torch.arange(40) // 4 % 4)
        self.groups = [f"track {k // 4}" for k in range(40)] if names else np.arange(40) // 4


def tracks_of(source: Any) -> set[int]:
    every = unlike(40).flatten(1)
    seen = torch.cat([batch.x for batch in source.epoch(None)]).flatten(1)
    return {int((every == row).all(1).nonzero()[0, 0]) // 4 for row in seen}


class Patient(NamedTuple):
    site: str
    number: int


class Column:
    """A table's column: no array, and made one as pandas does."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=object)


def objects(values: list[Any]) -> NDArray[Any]:
    return np.fromiter(values, object, len(values))


TRACK = [k // 4 for k in range(40)]
READABLE: dict[str, Any] = {
    "int32": np.array(TRACK, dtype=np.int32),
    "uint8 tensor": torch.tensor(TRACK, dtype=torch.uint8),
    "float": np.array(TRACK, dtype=float),
    "float16 tensor": torch.tensor(TRACK, dtype=torch.float16),
    "column of axis 1": np.array(TRACK)[:, None],
    "objects that are strings": objects([f"p{k}" for k in TRACK]),
    "objects that are integers": objects(TRACK),
    "objects that are numpy's integers": objects([np.int64(k) for k in TRACK]),
    "objects that are floats": objects([float(k) for k in TRACK]),
    "objects that are tensors": objects([torch.tensor(k) for k in TRACK]),
    "bytes": [f"p{k}".encode() for k in TRACK],
    "objects that are bytes": objects([f"p{k}".encode() for k in TRACK]),
    "a table's column": Column([f"p{k}" for k in TRACK]),
    "tuple of strings": tuple(f"p{k}" for k in TRACK),
    "named tuples": objects([Patient("a", k) for k in TRACK]),
    "paths": [Path(f"p{k}") for k in TRACK],
    "dates": [date(2020, 1, 1 + k) for k in TRACK],
    "range": range(40),
}


@pytest.mark.parametrize("way", ["dataset", "argument", "subset", "concat", "rows", "stream"])
@pytest.mark.parametrize("kind", READABLE)
def test_groups_of_every_kind_are_kept_whole(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare, data = TensorDataset(unlike(40), torch.arange(40) // 4 % 4), Tracks()
    data.groups = READABLE[kind]

    class Rows(IterableDataset[Any]):
        groups = READABLE[kind]

        def __iter__(self) -> Iterator[Any]:
            return iter([bare[k] for k in range(40)])

    if way == "stream":
        monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 20 * 64)
    source: Any = {
        "dataset": lambda: from_loader(data),
        "argument": lambda: from_loader(bare, groups=READABLE[kind]),
        "subset": lambda: from_loader(Subset(data, range(40))),
        "concat": lambda: from_loader(ConcatDataset([Subset(data, range(9)), Subset(data, range(9, 40))])),
        "rows": lambda: from_loader(DataLoader(Rows(), batch_size=8)),
        "stream": lambda: from_loader(DataLoader(Rows(), batch_size=8)),
    }[way]()
    rest, held = source.hold_out(0.2, 0)
    assert len(rest) + len(held) == 40
    if kind != "range":
        assert not tracks_of(rest) & tracks_of(held)


UNREADABLE: dict[str, tuple[Any, str]] = {
    "too few": (np.array(TRACK[:20]), r"groups of shape \(20,\) for 40"),
    "too many strings": (["p"] * 41, r"groups of shape \(41,\) for 40"),
    "none": ([], r"groups of"),
    "dict": (dict(enumerate(TRACK)), "groups of type dict"),
    "set": (set(TRACK), "groups of type set"),
    "method": (lambda: TRACK, "groups of type function"),
    "one number": (3, r"shape \(\)"),
    "one string": ("p1", r"shape \(\)"),
    "rows of different length": ([[1], [2, 3]] * 20, "groups of type list that are no array"),
    "two columns": (np.zeros((40, 2), dtype=int), r"shape \(40, 2\)"),
    "parts of numbers": ([0.5, 1.0] * 20, "type float64"),
    "floats beyond exact ones": (torch.tensor([2.0**25] * 40), "type float32"),
    "not a number": ([float("nan"), 1.0] * 20, "type float64"),
    "missing among strings": (objects(["p1", float("nan")] * 20), "float and str in one column"),
    "missing among a list's strings": (["p1", float("nan")] * 20, "float and str in one column"),
    "None among strings": (["p1", None] * 20, "NoneType and str in one column"),
    "None alone": ([None] * 40, "type NoneType"),
    "numbers and strings": ([1, "1"] * 20, "int and str in one column"),
    "whether": (np.zeros(40, dtype=bool), "type bool"),
    "whether, as objects": (objects([True, False] * 20), "type bool"),
    "objects": ([object() for _ in range(40)], "type object"),
    "tensors of two": (objects([torch.zeros(2) for _ in range(40)]), "type Tensor"),
    "lists": (objects([[k] for k in TRACK]), "type list"),
    "tuples of lists": (objects([([k],) for k in TRACK]), "type tuple that can't be compared"),
    "complex": (np.zeros(40, dtype=complex), "type complex128"),
}


@pytest.mark.parametrize("way", ["dataset", "argument", "subset", "concat", "rows"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_groups_that_can_t_be_read_are_refused(kind: str, way: str) -> None:
    groups, says = UNREADABLE[kind]
    bare, data = TensorDataset(unlike(40), torch.arange(40) // 4 % 4), Tracks()
    data.groups = groups

    class Rows(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([bare[k] for k in range(40)])

    rows = Rows()
    rows.groups = groups  # type: ignore[attr-defined]  # as a user's has it
    with pytest.raises(InputError, match=says) as caught:
        {
            "dataset": lambda: from_loader(data),
            "argument": lambda: from_loader(bare, groups=groups),
            "subset": lambda: from_loader(Subset(data, range(10))),
            "concat": lambda: from_loader(ConcatDataset([data, data])),
            "rows": lambda: from_loader(DataLoader(rows, batch_size=8)),
        }[way]()
    assert "\n" not in str(caught.value)


def test_groups_of_some_parts_alone_are_refused() -> None:
    data, bare = Tracks(), TensorDataset(unlike(40, 1), torch.arange(40) % 4)
    with pytest.raises(InputError, match="groups in 1 of the 2 parts of a ConcatDataset"):
        from_loader(ConcatDataset([data, bare]))
    assert len(from_loader(ConcatDataset([data, bare]), groups=range(80))) == 80
    with pytest.raises(InputError, match="int and str in one column"):
        from_loader(ConcatDataset([data, Tracks(names=True)]))


def test_equal_groups_are_one_in_all_parts_of_a_concatenation() -> None:
    one, other = Tracks(names=True), Tracks(names=True)
    one.groups, other.groups = objects([f"p{k}" for k in TRACK]), [f"p{k}" for k in TRACK[::-1]]
    source: Any = from_loader(ConcatDataset([one, other]))
    assert torch.equal(source.groups[:40], source.groups[40:].flip(0))
