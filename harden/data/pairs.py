"""What a loader yields, read as images and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from harden.data.arrays import images, labels
from harden.data.batch import Batch
from harden.data.checks import check_images, check_labels
from harden.data.examples import to_unit
from harden.errors import InputError


def as_pair(item: object, name: str) -> tuple[Tensor, Tensor]:
    """Read one batch as (x (B, C, H, W) of its own type, y int64 (B,)), checked.

    Raises:
        InputError: not a pair, or images or labels are not what they have to be.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        seen = f"{len(item)} things" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
        raise InputError(
            f"{name}: a batch of {seen}",
            "a pair (x, y)",
            "give the DataLoader a collate_fn that returns (x, y)",
        )
    if isinstance(item[1], int) or getattr(item[1], "ndim", 1) == 0:
        raise InputError(
            f"{name}: single examples", "batches", "pass torch.utils.data.DataLoader(dataset, batch_size=128)"
        )
    x, y = images(item[0], f"{name}: x"), labels(item[1], f"{name}: y")
    x = x.float() if x.dtype in (torch.float64, torch.float16, torch.bfloat16) else x
    check_images(x, name)
    check_labels(y, x.shape[0], None, name)
    return x, y


def as_batch(item: object, index: Tensor, name: str) -> Batch:
    """Read one batch whose positions are known.

    Raises:
        InputError: as `as_pair`, or there are more or fewer examples than positions.
    """
    x, y = as_pair(item, name)
    if len(x) != len(index):
        raise InputError(
            f"{name}: {len(x)} images from {len(index)} examples",
            "one image for each example",
            "leave mixing, dropping and repeating of examples out of collate_fn",
        )
    return Batch(to_unit(x), y, index)


def annotated(iterator: Iterator[Any], name: str) -> Iterator[Any]:
    """Pass items through; what the loader raises goes on as it is, with a note on where it happened."""
    position = 0
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            error.add_note(
                f"raised by the data loader ({name}) while it made batch {position}, counted from 0"
            )
            raise
        yield item
        position += 1
