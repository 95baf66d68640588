"""Data on disk that are missing, damaged or of another kind, and folders that can't be written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harden.data import load
from tests.bad_input.table import (
    Row,
    by_export,
    classes,
    ids,
    pictures,
    refused,
)

SAVEZ = "write it with np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"
WHOLE = "an npz file of plain arrays, complete"
LAYOUT = "lay files out as DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"
OTHER_OUT = "write another --out, or empty the folder"


def npz(name: str, seen: str, expected: str = WHOLE) -> Row:
    return Row(f"npz-{name}", lambda _: load(f"npz:{name}.npz"), seen, expected, SAVEZ)


READ = [
    npz("gone", "npz:gone.npz: no such file", "an npz file"),
    npz("folder", "npz:folder.npz: no such file", "an npz file"),
    npz("cut", "npz:cut.npz: unreadable (not a zip archive)"),
    npz("flipped", "npz:flipped.npz: unreadable (Bad CRC-32 for file 'x_train.npy')"),
    npz("empty", "npz:empty.npz: unreadable (not a zip archive)"),
    npz("text", "npz:text.npz: unreadable (not a zip archive)"),
    npz("pickled", "npz:pickled.npz: unreadable (not a zip archive)"),
    npz("objects", "npz:objects.npz: unreadable (x_train.npy holds …"),
    npz(
        "other",
        "npz:other.npz: x_train, y_train, x_test, y_test missing; it holds readme.txt",
        "x_train, y_train, x_test, y_test",
    ),
    Row(
        "npy-for-npz",
        lambda _: load("npz:one.npy"),
        "npz:one.npy: unreadable (not a zip archive)",
        WHOLE,
        SAVEZ,
    ),
    Row(
        "folder-gone",
        lambda _: load("folder:gone"),
        "folder:gone: no such folder",
        "a folder of folders",
        LAYOUT,
    ),
    Row(
        "folder-empty",
        lambda _: load("folder:no-classes"),
        "no-classes: 0 folders",
        "one folder for each of at least two classes",
        LAYOUT,
    ),
    Row(
        "folder-of-one-class",
        lambda _: load("folder:one-class"),
        "one-class: 1 folders",
        "one folder for each of at least two classes",
        LAYOUT,
    ),
    Row(
        "folder-without-images",
        lambda _: load("folder:no-images"),
        "no-images/cat: no image files",
        "at least one image a class",
        LAYOUT,
    ),
    Row(
        "image-damaged",
        lambda _: load("folder:damaged"),
        "damaged/cat/0.png: unreadable (…)",
        "a complete image file",
        "replace or remove it",
    ),
    Row(
        "folder-for-npz",
        lambda _: load("npz:damaged"),
        "npz:damaged: no such file",
        "an npz file",
        SAVEZ,
    ),
    Row(
        "torchvision-not-downloaded",
        lambda _: load("torchvision:CIFAR10:empty"),
        "torchvision:CIFAR10:empty: train part not readable (…)",
        "the files of CIFAR10 in empty; harden downloads nothing",
        "run torchvision.datasets.CIFAR10('empty', train=True, download=True) once",
    ),
]


DATA = (pictures(), classes())
OUT = [
    Row(
        "out-not-empty",
        lambda _: by_export(DATA, folder="full"),
        "full holds ['thesis.tex']",
        "an empty folder or an artefact",
        OTHER_OUT,
    ),
    Row(
        "out-a-file",
        lambda _: by_export(DATA, folder="good.npz"),
        "good.npz: Not a directory",
        "a folder that can be written",
        OTHER_OUT,
    ),
    Row(
        "out-below-a-file",
        lambda _: by_export(DATA, folder="good.npz/out"),
        "good.npz/out: Not a directory",
        "a folder that can be written",
        OTHER_OUT,
    ),
    Row(
        "out-unwritable",
        lambda _: by_export(DATA, folder="/proc/out"),
        "/proc/out: …",
        "a folder that can be written",
        "name another one",
    ),
]


@pytest.mark.parametrize("row", ids([*READ, *OUT]))
def test_data_and_folders(row: Row, stocked: Path) -> None:
    refused(row, stocked)
