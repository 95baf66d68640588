"""Reading of a loader's batches: types, counts, and notes on what the loader raises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from harden.data.image_checks import UNLABELLED
from harden.data.sources.read_batch import BatchReader, annotate_errors
from harden.errors import InputError

X, Y = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 0])


def test_a_pair_keeps_its_stored_type_and_a_batch_is_in_the_unit_range() -> None:
    reader, stored = BatchReader("mine"), (X * 255).to(torch.uint8)
    x, y = reader.pair((stored, Y.to(torch.int32)))
    assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
    batch = reader.batch((stored, Y), torch.tensor([7, 5, 6, 4]))
    assert torch.equal(batch.x, stored.float() / 255)
    assert batch.index.tolist() == [7, 5, 6, 4]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_read_as_float32(dtype: torch.dtype) -> None:
    x, _ = BatchReader("mine").pair((X.to(dtype), Y))
    assert x.dtype == torch.float32
    assert torch.equal(x, X.to(dtype).float())


@pytest.mark.parametrize("item", [X, (X, Y), {"image": X, "label": Y}], ids=["images", "pair", "dict"])
def test_labels_are_not_read_where_there_are_none(item: object) -> None:
    x, y = BatchReader("mine", labelled=False).pair(item)
    assert torch.equal(x, X)
    assert y.tolist() == [UNLABELLED] * 4


def test_as_many_images_as_positions() -> None:
    with pytest.raises(InputError, match=r"mine: 4 images from 3 examples.*collate_fn"):
        BatchReader("mine").batch((X, Y), torch.arange(3))
    with pytest.raises(InputError, match="mine: single examples"):
        BatchReader("mine").pair((X[0], 3))


def test_errors_get_the_number_of_the_batch() -> None:
    def items(error: Exception) -> Iterator[int]:
        yield from (1, 2)
        raise error

    seen = []
    with pytest.raises(KeyError) as caught:
        seen += [item for item in annotate_errors(items(KeyError("gone")), "mine") if item]
    assert caught.value.__notes__ == [
        "raised by the data loader (mine) while it made batch 2, counted from 0"
    ]
    with pytest.raises(EOFError) as caught_end:
        list(annotate_errors(items(EOFError()), "mine"))
    assert "a worker process ended" in caught_end.value.__notes__[1]
    assert list(annotate_errors([3, 4], "mine")) == [3, 4]
