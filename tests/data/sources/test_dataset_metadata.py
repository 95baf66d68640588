"""Labels, groups and names of classes that datasets store, through subsets and concatenations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from harden.data.sources.dataset_metadata import dataset_name, stored_classes, stored_groups, stored_labels
from harden.errors import InputError

X, Y = torch.rand(6, 1, 2, 2), torch.tensor([2, 0, 1, 2, 0, 1])


class Stored(TensorDataset):
    """A dataset with the attributes that are given."""

    def __init__(self, **stored: Any) -> None:
        super().__init__(X)
        vars(self).update(stored)


def labels_of(dataset: object, fields: Any = None) -> list[int] | None:
    found = stored_labels(dataset, fields)
    assert found is None or found.dtype == torch.int64
    return None if found is None else found.tolist()


@pytest.mark.parametrize("column", [Y, Y.tolist(), tuple(Y.tolist()), Y.numpy().astype(np.uint8)], ids=type)
def test_labels_are_read_from_the_attribute_in_the_order_of_the_part(column: object) -> None:
    for name in ("targets", "labels"):
        dataset = Stored(**{name: column})
        assert labels_of(dataset) == Y.tolist()
        assert labels_of(Subset(dataset, [3, 0, 0])) == [2, 2, 2]
        assert labels_of(ConcatDataset([Subset(dataset, [1]), dataset])) == [0, *Y.tolist()]


def test_labels_of_a_tensor_dataset_are_its_second_tensor_or_the_chosen_one() -> None:
    assert labels_of(TensorDataset(X, Y)) == Y.tolist()
    three = TensorDataset(X, Y, Y + 1)
    assert labels_of(three) is None
    assert labels_of(three, (0, 2)) == (Y + 1).tolist()
    assert labels_of(three, (0, 3)) is None


@pytest.mark.parametrize(
    "dataset",
    [
        Stored(),
        Stored(targets=Y.tolist(), target_transform=lambda label: label),
        Stored(targets=Y[:5]),
        Stored(targets=Y.float()),
        Stored(targets=[[0], [1, 2], [], [], [], []]),
        ConcatDataset([Stored(targets=Y), Stored()]),
    ],
    ids=["none", "transformed", "too few", "floats", "ragged", "one part of two"],
)
def test_labels_that_may_differ_from_those_of_the_batches_are_not_used(dataset: object) -> None:
    assert labels_of(dataset) is None


def test_groups_follow_the_positions_and_are_one_for_each_example() -> None:
    dataset = Stored(groups=["a", "a", "b", "b", "c", "c"])
    found = stored_groups(ConcatDataset([Subset(dataset, [5, 2]), Subset(dataset, [0])]), "mine")
    assert found is not None
    assert found.tolist() == ["c", "b", "a"]
    assert stored_groups(Stored(), "mine") is None
    with pytest.raises(InputError, match="groups in 1 of the 2 parts"):
        stored_groups(ConcatDataset([dataset, Stored()]), "mine")
    with pytest.raises(InputError, match=r"groups of shape \(2,\) for 6"):
        stored_groups(Stored(groups=[1, 2]), "mine")


def test_names_of_classes() -> None:
    named = Stored(classes=["cat", "dog", "hen"])
    assert stored_classes(Subset(named, [0])) == ("cat", "dog", "hen")
    assert stored_classes(ConcatDataset([named, named])) == ("cat", "dog", "hen")
    assert stored_classes(ConcatDataset([named, Stored(classes=["cat"])])) is None
    assert stored_classes(Stored(classes=[1, 2])) is None
    assert stored_classes(Stored(classes=["cat"], target_transform=int)) is None


def test_a_part_is_named_after_the_whole() -> None:
    assert dataset_name(Subset(Subset(Stored(), [0, 1]), [0])) == "Stored"
