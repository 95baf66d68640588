"""Arrays that are no images, and data that hold nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from harden.data import from_loader
from harden.models.small_networks import small_cnn
from tests.bad_input.table import (
    Row,
    built,
    by_evaluate,
    by_export,
    by_harden,
    classes,
    ids,
    pictures,
    refused,
)

COLOUR = built(lambda: small_cnn(in_channels=3))


def array(channels: int = 3) -> Any:
    """Images as numpy arrays have them, (N, H, W, C)."""
    return pictures(channels).permute(0, 2, 3, 1).contiguous().numpy()


ARRAYS = [
    Row(
        "uint8-tensor-for-the-model",
        lambda _: COLOUR((pictures(3) * 255).to(torch.uint8)),
        "images of dtype torch.uint8",
        "float pixels in [0, 1]",
        "write x.float() / 255",
    ),
    Row(
        "array-for-the-model",
        lambda _: COLOUR(array()),
        "images as a ndarray",
        "a tensor (N, C, H, W)",
        "write torch.from_numpy(x) for an array",
    ),
    Row(
        "one-image-for-the-model",
        lambda _: COLOUR(pictures(3)[0]),
        "images of shape (3, 8, 8)",
        "a batch (N, C, H, W)",
        "write x.unsqueeze(0) for one",
    ),
    Row(
        "float64-array",
        lambda _: by_harden((array().astype(np.float64), classes().numpy()), COLOUR),
        "x of type float64",
        "float32 in [0, 1], uint8 or uint16",
        "write x.astype('float32')",
    ),
    Row(
        "integer-array",
        lambda _: by_harden(((array() * 255).astype(np.int64), classes().numpy()), COLOUR),
        "x of type int64",
        "uint8, uint16 or float32",
        "write x.astype('uint8') for pixels in 0..255",
    ),
    Row(
        "array-of-text",
        lambda _: by_harden((array().astype("U4"), classes().numpy()), COLOUR),
        "x of type <U4",
        "uint8, uint16 or float32",
        "write x.astype('uint8') for pixels in 0..255",
    ),
    Row(
        "array-of-objects",
        lambda _: by_harden((np.array([None] * 40), classes().numpy()), COLOUR),
        "x of type object",
        "uint8, uint16 or float32",
        "write x.astype('uint8') for pixels in 0..255",
    ),
    Row(
        "channels-first-in-an-array",
        lambda _: by_harden((pictures(3).numpy(), classes().numpy()), COLOUR),
        "x of shape (40, 3, 8, 8), probably (N, C, H, W)",
        "(N, H, W, C) in numpy arrays",
        "write x.transpose(0, 2, 3, 1)",
    ),
    Row(
        "array-with-five-axes",
        lambda _: by_harden((array()[None], classes().numpy()), COLOUR),
        "x of shape (1, 40, 8, 8, 3)",
        "(N, H, W, C) or (N, H, W)",
        "stack images of one size",
    ),
    Row(
        "bytes-as-floats-in-an-array",
        lambda _: by_evaluate((array() * 255, classes().numpy()), COLOUR),
        "(x, y): float pixels with min 0 and max 255",
        "pixels in [0, 1]",
        "divide by 255 or pass uint8",
    ),
]


class Endless(IterableDataset[Any]):
    """A stream without an example."""

    def __iter__(self) -> Any:
        return iter(())


X, Y = pictures(), classes()
NOTHING = [
    Row(
        "empty-pair",
        lambda _: by_harden((X[:0], Y[:0])),
        "(x, y): no pixels, shape (0, 1, 8, 8)",
        "at least one image",
        "check the path and filter",
    ),
    Row(
        "empty-loader",
        lambda _: by_harden(DataLoader(TensorDataset(X[:0], Y[:0]), 8)),
        "a DataLoader over no examples",
        "at least one example",
        "check its path and filter",
    ),
    Row(
        "empty-loader-to-evaluate-on",
        lambda _: by_evaluate(DataLoader(TensorDataset(X[:0], Y[:0]), 8)),
        "a DataLoader over no examples",
        "at least one example",
        "check its path and filter",
    ),
    Row(
        "empty-loader-to-export-with",
        lambda _: by_export(DataLoader(TensorDataset(X[:0], Y[:0]), 8)),
        "a DataLoader over no examples",
        "at least one example",
        "check its path and filter",
    ),
    Row(
        "used-iterator",
        lambda _: by_harden(iter([])),
        "list_iterator: no batches",
        "at least one",
        "pass a fresh iterator, or check its filter",
    ),
    Row(
        "empty-stream",
        lambda _: by_harden(DataLoader(Endless(), 8)),
        "DataLoader over Endless: no batches",
        "at least one",
        "pass a fresh iterator, or check its filter",
    ),
    Row(
        "one-image",
        lambda _: by_harden((X[:1], Y[:1])),
        "1 labels that are all 0",
        "examples of at least two classes",
        "check how labels are read, or whether the set is sorted by class and was cut",
    ),
    Row(
        "one-image-of-each-class",
        lambda _: by_harden((X[:10], Y[:10])),
        "10 examples of which a fraction of 0.1 can't be held out",
        "a class with at least two examples",
        "pass more data, or a validation set of your own",
    ),
    Row(
        "no-data-but-a-path",
        lambda _: by_harden("train/"),
        "a loader of type str",
        "a DataLoader, Examples, a pair (x, y), or an iterable of batches",
        "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
    ),
    Row(
        "no-data-but-none",
        lambda _: by_evaluate(None),
        "a loader of type NoneType",
        "a DataLoader, Examples, a pair (x, y), or an iterable of batches",
        "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
    ),
    Row(
        "images-without-labels",
        lambda _: by_harden(DataLoader(TensorDataset(X), 8)),
        "DataLoader over TensorDataset: a batch of 1 things",
        "a pair (x, y), or one part each with a usual name for images and labels, such as image and label",
        "give the DataLoader a collate_fn that returns (x, y)",
    ),
    Row(
        "images-alone",
        lambda _: by_harden(X),
        "Tensor: a batch of a Tensor",
        "a pair (x, y), or one part each with a usual name for images and labels, such as image and label",
        "give the DataLoader a collate_fn that returns (x, y)",
    ),
    Row(
        "images-of-two-sizes",
        lambda _: by_harden([(X, Y), (X[:, :, :4], Y)]),
        "list: images of 2 kinds: …",
        "one type and size",
        "convert them",
    ),
    Row(
        "batch-size-of-0",
        lambda _: from_loader((X, Y), 0),
        "a batch size of 0",
        "at least 1",
        "pass a positive batch size",
    ),
]


@pytest.mark.parametrize("row", ids([*ARRAYS, *NOTHING]))
def test_arrays_and_no_data(row: Row, place: Path) -> None:
    refused(row, place)
