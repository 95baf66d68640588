"""Labels that are none, or not those of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from harden.data import Examples, Splits, balanced_weights
from harden.models.small_networks import small_cnn
from tests.bad_input.table import (
    DOORS,
    FAST,
    FORMS,
    RUN,
    Answer,
    Row,
    built,
    by_evaluate,
    by_export,
    by_harden,
    check_line,
    classes,
    ids,
    listing,
    pictures,
    refused,
)

X, Y = pictures(), classes()


def with_label(label: int) -> Callable[[Tensor], Tensor]:
    def spoil(y: Tensor) -> Tensor:
        y = y.clone()
        y[3] = label
        return y

    return spoil


@dataclass(frozen=True)
class Spoil:
    """How labels are spoilt, and what is said; the data's name stands before it."""

    name: str
    spoil: Callable[[Any], Any]
    seen: str
    expected: str
    instead: str


SPOILS = [
    Spoil("floats", lambda y: y.float(), "labels of type float32", "int64", "write y.long()"),
    Spoil("booleans", lambda y: y > 4, "labels of type bool", "int64", "write y.long()"),
    Spoil(
        "one-hot",
        lambda y: torch.eye(10)[y],
        "labels of shape (…, 10), apparently one-hot",
        "class numbers of shape (N,)",
        "write y.argmax(1)",
    ),
    Spoil("column", lambda y: y[:, None], "labels of shape (…, 1)", "shape (N,)", "write y.squeeze(1)"),
    Spoil(
        "maps",
        lambda y: y[:, None, None].expand(-1, 8, 8),
        "labels of shape (…, 8, 8)",
        "shape (N,)",
        "pass one class number for each image",
    ),
    Spoil(
        "negative",
        with_label(-1),
        "a label of -1",
        "labels from 0",
        "drop examples without a label (harden.data.unlabelled takes them), or number classes from 0",
    ),
    Spoil(
        "ignore-index",
        with_label(-100),
        "a label of -100",
        "labels from 0",
        "drop examples without a label (harden.data.unlabelled takes them), or number classes from 0",
    ),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spoil", ids(SPOILS))
def test_spoilt_labels(spoil: Spoil, form: str, door: str, place: Path) -> None:
    name, give = FORMS[form]
    y = spoil.spoil(Y)
    row = Row("", lambda _: DOORS[door](give(X, y)), f"{name}: {spoil.seen}", spoil.expected, spoil.instead)
    refused(row, place)


# An export traces first, which takes a second: one form of data there.
@pytest.mark.parametrize(
    ("form", "door"),
    [*((form, door) for form in FORMS for door in ("harden", "evaluate")), ("loader", "export")],
)
@pytest.mark.parametrize("label", [10, 255])
def test_a_label_that_the_model_does_not_know(label: int, form: str, door: str, place: Path) -> None:
    y = with_label(label)(Y)
    row = Row(
        "",
        lambda _: DOORS[door](FORMS[form][1](X, y)),
        f"labels 0 to {label} for 10 logits",
        "labels 0 to 9",
        "check that model and data have the same classes",
    )
    refused(row, place)


@pytest.mark.parametrize("form", FORMS)
def test_one_class_only(form: str, place: Path) -> None:
    row = Row(
        "",
        lambda _: by_harden(FORMS[form][1](X, torch.full((40,), 7))),
        "40 labels that are all 7",
        "examples of at least two classes",
        "check how labels are read, or whether the set is sorted by class and was cut",
    )
    refused(row, place)


NAMES = tuple("0123456789")
FEW = built(lambda: small_cnn(num_classes=3))
OTHERS = [
    Row(
        "fewer-logits-than-classes",
        lambda _: by_harden((X, Y), FEW),
        "labels 0 to 9 for 3 logits",
        "labels 0 to 2",
        "check that model and data have the same classes",
    ),
    Row(
        "fewer-logits-than-names",
        lambda _: by_export(Examples(X, Y % 3, NAMES), FEW),
        "10 classes in the data and 3 logits",
        "a logit for each class",
        "build the network for the classes of the data",
    ),
    Row(
        "more-labels-than-names",
        lambda _: Examples(X, Y, NAMES[:5], "mine"),
        "mine: a label of 9 with 5 classes",
        "labels in 0..4",
        "number classes from 0 and name each of them in classes",
    ),
    Row(
        "other-classes-in-test",
        lambda _: Splits(Examples(X, Y, NAMES), Examples(X, Y, NAMES[::-1]), "mine"),
        "mine: classes (0, 1, 2, 3, 4, ... 10 in all) in training and (9, 8, 7, 6, 5, ... 10 in all) in test",
        "the same classes in the same order",
        "number both parts' labels by one list of classes",
    ),
    Row(
        "fewer-labels-than-images",
        lambda _: by_harden((X, Y[:39])),
        "(x, y): 40 images and 39 labels",
        "one label an image",
        "check what was cut",
    ),
    Row(
        "one-image-dropped-by-collate",
        lambda _: by_evaluate(DataLoader(TensorDataset(X, Y), 8, collate_fn=lambda items: (X[:7], Y[:7]))),
        "DataLoader over TensorDataset: 7 images from 8 examples",
        "one image for each example",
        "leave mixing, dropping and repeating of examples out of collate_fn",
    ),
    Row(
        "one-hot-array",
        lambda _: by_harden((X.permute(0, 2, 3, 1).numpy(), np.eye(10)[Y.numpy()])),
        "y of shape (40, 10), apparently one-hot",
        "class numbers of shape (N,)",
        "write y.argmax(1)",
    ),
    Row(
        "float-array",
        lambda _: by_harden((X.permute(0, 2, 3, 1).numpy(), Y.double().numpy())),
        "y of type float64",
        "integer class numbers",
        "write y.astype('int64')",
    ),
    Row(
        "names-for-numbers",
        lambda _: by_harden((X.permute(0, 2, 3, 1).numpy(), np.array(["cat", "dog"] * 20))),
        "y of type <U3",
        "integer class numbers",
        "write classes, y = np.unique(y, return_inverse=True)",
    ),
    Row(
        "single-examples",
        lambda _: by_harden([(X[0], 3), (X[1], 4)]),
        "list: single examples",
        "batches",
        "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
    ),
    Row(
        "weights-for-other-classes",
        lambda _: balanced_weights(Y, 5),
        "labels in 0..9",
        "labels in 0..4",
        "number classes from 0 and pass their count",
    ),
]


@pytest.mark.parametrize("row", ids(OTHERS))
def test_labels_that_do_not_fit(row: Row, place: Path) -> None:
    refused(row, place)


ROUGH = [
    Spoil(
        "floats",
        lambda y: y.astype("float32"),
        "rough: y_train of type float32",
        "integer class numbers",
        "write y.astype('int64')",
    ),
    Spoil(
        "one-hot",
        lambda y: np.eye(10, dtype="uint8")[y],
        "rough: y_train of shape (40, 10), apparently one-hot",
        "class numbers of shape (N,)",
        "write y.argmax(1)",
    ),
    Spoil(
        "negative",
        lambda y: y - 1,
        "rough train: a label of -1",
        "labels from 0",
        "drop examples without a label (harden.data.unlabelled takes them), or number classes from 0",
    ),
    Spoil(
        "one-class",
        lambda y: y * 0 + 4,
        "40 labels that are all 4",
        "examples of at least two classes",
        "check how labels are read, or whether the set is sorted by class and was cut",
    ),
    Spoil(
        "more",
        lambda y: np.append(y, 3),
        "rough train: 40 images and 41 labels",
        "one label an image",
        "check what was cut",
    ),
]


@pytest.mark.parametrize("spoil", ids(ROUGH))
def test_spoilt_labels_in_a_file(spoil: Spoil, place: Path, command: Callable[..., Answer]) -> None:
    x, y = X.permute(0, 2, 3, 1).numpy(), Y.numpy()
    np.savez(place / "rough.npz", x_train=x, y_train=spoil.spoil(y), x_test=x[:20] / 2, y_test=y[:20])
    before = listing(place)
    check_line(
        command("run", "--data", "npz:rough.npz", *RUN, *FAST),
        spoil.seen,
        spoil.expected,
        spoil.instead,
        place,
    )
    assert listing(place) == before
