"""Batches that are no pairs: which of their parts are images and labels."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harden.data import from_loader
from harden.data.sources.batch_fields import IMAGE_NAMES, LABEL_NAMES, Fields
from harden.errors import InputError

X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


class Dicts(Dataset[dict[str, Any]]):
    """A map-style dataset that gives dicts, as data hubs do."""

    def __init__(self, images: str = "image", labels: str = "label") -> None:
        self.images, self.labels_key = images, labels

    def __len__(self) -> int:
        return 12

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {self.images: X[position], "path": f"{position}.png", self.labels_key: int(Y[position])}


@dataclass
class Record:
    image: Tensor
    target: Tensor
    weight: float = 1.0


class Named(NamedTuple):
    label: Tensor
    image: Tensor


class Slots:
    __slots__ = ("grade", "scan")

    def __init__(self) -> None:
        self.scan, self.grade = X, Y


class Anything:
    def __init__(self) -> None:
        self.pixel_values, self.labels = X, Y

    @property
    def grade(self) -> Tensor:
        return Y


def read(batch: object, fields: Fields | None = None) -> tuple[Tensor, Tensor]:
    found = next(from_loader([batch], fields=fields).epoch(None))
    return found.x, found.y


@pytest.mark.parametrize(
    ("batch", "fields"),
    [
        ({"x": X, "y": Y}, None),
        ({"image": X, "label": Y, "path": ["a"] * 12}, None),
        ({"pixel_values": X, "labels": Y}, None),
        (UserDict({"img": X, "targets": Y}), None),
        (Record(X, Y), None),
        (Named(Y, X), None),
        (Anything(), None),
        ({"scan": X, "grade": Y, "image": Y}, ("scan", "grade")),
        ({0: X, 1: Y}, (0, 1)),
        ((X, "meta", Y), (0, 2)),
        ([Y, X], (1, 0)),
        ((Y, "meta", X), (-1, 0)),
        (Record(X, Y), ("image", "target")),
        (Anything(), ("pixel_values", "grade")),
        (Named(Y, X), (1, 0)),
        (Slots(), ("scan", "grade")),
        ({"image": X.permute(0, 2, 3, 1).numpy(), "label": Y.numpy()}, None),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_images_and_labels_are_found(batch: object, fields: Fields | None) -> None:
    x, y = read(batch, fields)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


@given(st.sampled_from(IMAGE_NAMES), st.sampled_from(LABEL_NAMES), st.sets(st.text(max_size=4)))
def test_one_known_name_each_is_found_among_any_others(image: str, label: str, others: set[str]) -> None:
    batch: dict[str, Any] = dict.fromkeys(others - {*IMAGE_NAMES, *LABEL_NAMES}) | {label: Y, image: X}
    x, y = read(batch)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_of_dicts_keeps_its_positions(workers: int) -> None:
    source = from_loader(DataLoader(Dicts(), batch_size=5, num_workers=workers))
    assert len(source) == 12
    for batch in source.epoch(torch.Generator().manual_seed(0)):
        assert torch.equal(batch.x, X[batch.index])
        assert torch.equal(batch.y, Y[batch.index])
    named = from_loader(DataLoader(Dicts("scan", "grade"), batch_size=5), fields=("scan", "grade"))
    rest, held = named.hold_out(0.25, 0)
    assert (len(rest), len(held)) == (9, 3)
    assert torch.cat([batch.y for batch in held.epoch(None)]).bincount().tolist() == [1, 1, 1]


def test_stored_targets_are_not_what_fields_choose() -> None:
    class Both(Dicts):
        targets = [0] * 12

    source = from_loader(DataLoader(Both("image", "grade"), batch_size=4), fields=("image", "grade"))
    _, held = source.hold_out(0.25, 0)
    assert torch.cat([batch.y for batch in held.epoch(None)]).bincount().tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("batch", "fields", "says"),
    [
        ({"scan": X, "grade": Y}, None, r"a dict with 'scan', 'grade';.*fields=\('scan', 'grade'\)"),
        ({"image": X, "img": X, "label": Y}, None, r"'image', 'img', 'label';.*fields=\('image', 'label'\)"),
        ({"image": X, "label": Y, "target": Y}, None, r"fields=\('image', 'label'\)"),
        ({"image": X}, None, r"fields=\('image', 'LABELS'\)"),
        ((X, Y, Y), None, r"3 things;.*fields=\(0, 1\)"),
        (("id", X, Y), None, r"3 things;.*fields=\(1, 2\)"),
        ({"image": X, "label": Y}, ("picture", "label"), r"'picture'.*fields=\('image', 'label'\)"),
        ((X, Y), (0, 2), r"2 things; expected the field 2.*fields=\(0, 1\)"),
        ((X, Y), ("image", "label"), "the field 'image'"),
        (X, ("shape", "dtype"), "a Tensor"),
        (Slots(), None, "a Slots"),
        ({f"k{k}": None for k in range(12)}, None, r"\.\.\. 12 in all"),
        ({"image": X[0], "label": 3}, None, "single examples"),
    ],
)
def test_what_is_unclear_is_refused_with_the_words_to_write(
    batch: object, fields: Fields | None, says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        from_loader(iter([batch, batch]), fields=fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fields", [("image",), "ab", (True, 0), (0, 1.5), ("a", "b", "c")])
def test_fields_are_two_names_or_positions(fields: Any) -> None:
    with pytest.raises(InputError, match="fields"):
        from_loader([(X, Y)], fields=fields)


@pytest.mark.parametrize("data", [(X, Y), from_loader((X, Y))], ids=["pair", "source"])
def test_fields_that_nothing_reads_are_refused(data: object) -> None:
    with pytest.raises(InputError, match="fields for"):
        from_loader(data, fields=(0, 1))


def test_one_hot_labels_get_advice_in_the_words_of_their_library() -> None:
    onehot = np.eye(3)[Y.numpy()]
    for labels in (onehot, onehot.astype(np.int64), onehot.astype(bool)):
        with pytest.raises(InputError, match=r"one-hot.*write y\.argmax\(1\)"):
            from_loader((X.permute(0, 2, 3, 1).numpy(), labels))
    with pytest.raises(InputError, match=r"one-hot.*write y\.argmax\(1\)"):
        from_loader((X, torch.from_numpy(onehot)))
    with pytest.raises(InputError, match=r"np\.unique\(y, return_inverse=True\)"):
        from_loader((X.permute(0, 2, 3, 1).numpy(), np.array(["cat", "dog", "cat"] * 4)))
