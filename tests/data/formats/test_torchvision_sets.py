"""Data sets that torchvision reads from disk, without a download."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harden.data import load
from harden.errors import InputError


def idx(path: Path, content: NDArray[np.uint8]) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, content.ndim) + struct.pack(f">{content.ndim}I", *content.shape)
    path.write_bytes(head + content.tobytes())


def test_torchvision_reads_what_is_on_disk(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, n in (("train", 20), ("t10k", 10)):
        idx(raw / f"{part}-images-idx3-ubyte", random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    splits = load(f"torchvision:MNIST:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (20, 10)
    assert splits.train.image_shape == (1, 28, 28)
    assert splits.train.classes[3] == "3 - three"


def test_torchvision_with_channels_first(tmp_path: Path) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        # The files store columns first.
        pixels.transpose(0, 1, 3, 2).tofile(folder / f"{part}_X.bin")
        np.arange(1, 11, dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    from torchvision import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.STL10, "_check_integrity", lambda _: True)
        splits = load(f"torchvision:STL10:{tmp_path}")
    assert torch.equal(splits.train.x, torch.from_numpy(pixels))
    assert splits.train.y.tolist() == list(range(10))


def test_torchvision_downloads_nothing_and_knows_its_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not found.*downloads nothing.*download=True\) once"):
        load(f"torchvision:CIFAR10:{tmp_path}")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="did you mean torchvision:CIFAR100:here"):
        load("torchvision:cifar100:here".replace("cifar", "CIFAR-"))
