"""Digest of a data set: independent of order, batches and stored type, and different for other content."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.data import Examples, from_loader
from harden.data.examples import to_unit


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_digest_ignores_order_and_stored_type_only(coloured: Examples) -> None:
    digest = coloured.digest()
    assert coloured.take(torch.randperm(40, generator=draw())).digest() == digest
    as_float = Examples(to_unit(coloured.x), coloured.y, ("x", "y", "z"), "other")
    assert as_float.digest() == digest
    wide = Examples((coloured.x.to(torch.int32) * 257).to(torch.uint16), coloured.y, coloured.classes)
    assert wide.digest() == digest

    changed = coloured.x.clone()
    changed[17, 1, 2, 3] ^= 1
    assert Examples(changed, coloured.y, coloured.classes).digest() != digest
    relabelled = coloured.y.clone()
    relabelled[5] = (relabelled[5] + 1) % 3
    assert Examples(coloured.x, relabelled, coloured.classes).digest() != digest
    assert coloured.take(torch.arange(39)).digest() != digest
    doubled = torch.cat([torch.arange(40), torch.tensor([0])])
    assert coloured.take(doubled).digest() != digest
    reshaped = Examples(coloured.x.reshape(40, 3, 5, 6), coloured.y, coloured.classes)
    assert reshaped.digest() != digest
    swapped = coloured.y[[1, 0, *range(2, 40)]]
    assert (
        torch.equal(swapped, coloured.y) or Examples(coloured.x, swapped, coloured.classes).digest() != digest
    )


def test_digest_is_what_the_documentation_says(coloured: Examples) -> None:
    parts = sorted(
        hashlib.sha256(
            struct.pack("<4q", 3, 6, 5, label) + struct.pack("<90f", *(image.flatten() / np.float32(255)))
        ).digest()
        for image, label in zip(coloured.x.numpy().astype(np.float32), coloured.y.tolist(), strict=True)
    )
    assert coloured.digest() == hashlib.sha256(b"".join(parts)).hexdigest()


def pair(n: int = 600) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 1, 4, 4), generator=generator).to(torch.uint8), torch.arange(n) % 4


@given(st.permutations(list(range(12))), st.integers(1, 13))
def test_the_digest_knows_neither_order_nor_batches(order: list[int], size: int) -> None:
    from harden.data.dataset_digest import digest

    x, y = pair(12)
    expected = Examples(x, y, tuple("abcd")).digest()
    source = from_loader((x[order], y[order]), size)
    assert digest(source.epoch(None)) == expected
    assert digest(source.epoch(torch.Generator().manual_seed(size))) == expected
