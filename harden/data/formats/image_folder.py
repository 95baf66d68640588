"""Loader of folders of image files, one folder for each class."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from harden.data.examples import Examples
from harden.data.formats.folder_classes import (
    CLASSES_FILE,
    check_known,
    check_two,
    class_folders,
    listed_classes,
    order_remark,
    warn_of_case,
)
from harden.data.formats.folder_parts import LAYOUT, FolderParts, parts_of
from harden.data.formats.folder_tree import SkippedFiles, images_below, list_folder
from harden.data.formats.image_files import ImageHeader, read_header, read_pixels
from harden.data.image_checks import RATIO, UNLABELLED, UNPACKED
from harden.data.splits.groups import group_numbers
from harden.data.splits.split import Splits, split
from harden.errors import InputError

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True)
class _LoadLog:
    """Remarks that are collected while a folder is read, for `Splits.remarks`."""

    root: Path
    skipped: SkippedFiles = field(default_factory=SkippedFiles)
    seen: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def remarks(self) -> tuple[str, ...]:
        files = (f"{count:,} images {what}" for what, count in self.seen.items())
        return tuple(remark for remark in (*self.notes, *files, self.skipped.describe()) if remark)


@final
@dataclass(frozen=True, slots=True)
class _LabelledFiles:
    """The files of a part, with labels and groups."""

    root: Path
    files: list[Path]
    labels: list[int]
    groups: list[str] | None


def load_folder(path: str, *, needs_train: bool = True) -> Splits:
    """Load the parts of DIR, or DIR alone with a stratified third (seed 0) for test.

    Parts are recognised by their names, see `harden.data.formats.folder_parts`. The class of an image
    is its folder, at any depth; labels follow the sorted names, or the order in DIR/classes.txt. What is
    hidden and what has no image's suffix is passed over and counted in `Splits.remarks`. Grey images become
    (1, H, W), others (3, H, W); where both occur all become (3, H, W). 16-bit grey stays 16-bit. A camera's
    orientation tag is not applied (Pillow applies that of a TIFF file).

    Where every image of a part lies in a subfolder of its class's folder, the subfolder's name is its group
    (patient, track), the same in all classes; one and the same name for all images is no group.
    DIR/unlabelled holds images without labels, in folders or not.

    Args:
        path: the folder DIR.
        needs_train: whether a training part is required; where it is optional and missing, `train` is the
            test part.

    Raises:
        InputError: no such folder, a part or a class is missing, fewer than two classes, a damaged file or
            one that can't be read faithfully, images of different size, other classes in test than in train,
            or a group in both.
    """
    root = Path(path) if Path(path).name else Path(path).absolute()  # folder:. has the working folder's name
    log = _LoadLog(root)
    if not root.is_dir():
        raise InputError(f"folder:{path}: no such folder", "a folder of folders", LAYOUT)
    parts = parts_of(root)
    log.notes.extend(parts.remarks)
    extra = None if parts.unlabelled is None else _without_labels(parts.unlabelled, root.name, log)
    if parts.test is None:
        (whole,) = _read([root], _classes(root, root, log), log)
        log.notes.append("a stratified third is the test part")
        return Splits(*split(whole, 1 / 3, seed=0), root.name, extra, log.remarks())
    log.skipped.unclassified += len(list_folder(root, log.skipped).images)
    train, test = _both(root, parts, log, needs_train)
    return Splits(train, test, root.name, extra, log.remarks())


def _both(root: Path, parts: FolderParts, log: _LoadLog, needs_train: bool) -> tuple[Examples, Examples]:
    if parts.train is None or parts.test is None:
        test_root = parts.test or root
        if needs_train:
            raise InputError(
                f"{root} holds {test_root.name!r} and no 'train'",
                "a part to train on",
                f"add {root / 'train'}, or write folder:{test_root} to split it",
            )
        (test,) = _read([test_root], _classes(root, test_root, log, two=False), log, test_root)
        return replace(test, groups=None), test
    classes = _classes(root, parts.train, log)
    found = class_folders(parts.test, SkippedFiles())
    check_known(parts.test, list(found), list(classes), parts.train.name)
    train, test = _read([parts.train, parts.test], classes, log, parts.test)
    present = set(test.y.tolist())
    missing = [name for label, name in enumerate(classes) if label not in present]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        log.notes.append(f"no test images of {', '.join(missing[:5])}{more}")
    return train, test


def _classes(root: Path, part: Path, log: _LoadLog, *, two: bool = True) -> tuple[str, ...]:
    """Return the names of the classes, from classes.txt or from the part's folders."""
    found = class_folders(part, SkippedFiles())
    listed = listed_classes(root)
    if listed is not None:
        check_known(part, list(found), listed, CLASSES_FILE)
        log.notes.append(f"classes as in {CLASSES_FILE}")
        return listed
    if two:
        check_two(part, list(found))
    warn_of_case(part, found)
    log.notes.append(order_remark(list(found)))
    return tuple(found)


def _read(
    roots: list[Path], classes: tuple[str, ...], log: _LoadLog, test: Path | None = None
) -> list[Examples]:
    """Read folders of classes, of which `test` may lack some; groups are known by their names in all."""
    parts = [_listed(root, classes, log, root == test) for root in roots]
    empty = next((part.root for part in parts if not part.files), None)
    if empty is not None:
        raise InputError(f"{empty}: no image files", "at least one image a class", LAYOUT)
    known = [(part.root.name, part.groups) for part in parts if part.groups is not None]
    # "images" under every class is a layout, not a group.
    several = len(set().union(*(groups for _, groups in known))) > 1
    numbers = iter(group_numbers([groups for _, groups in known], [name for name, _ in known]))
    if several:
        log.notes.append("groups are the subfolders of the classes")
    return [
        Examples(
            _stacked(part.files, log.seen),
            torch.tensor(part.labels),
            classes,
            part.root.name if part.root == log.root else f"{log.root.name} {part.root.name}",
            next(numbers) if several and part.groups is not None else None,
        )
        for part in parts
    ]


def _listed(root: Path, classes: tuple[str, ...], log: _LoadLog, may_lack: bool) -> _LabelledFiles:
    folders = class_folders(root, log.skipped)
    files: list[Path] = []
    labels: list[int] = []
    groups: list[str] = []
    for label, name in enumerate(classes):
        if name not in folders:
            if may_lack:
                continue
            raise InputError(f"{root}: no folder {name}", "a folder for each class", f"add {root / name}")
        skipped = SkippedFiles()
        found = images_below(folders[name], skipped)
        if not found and (skipped.suffixes or not may_lack):
            kinds = ", ".join(skipped.suffixes)
            raise InputError(
                f"{folders[name]}: no image files" + (f", only {kinds}" if kinds else ""),
                "at least one image a class",
                f"convert them to PNG; {LAYOUT}" if kinds else LAYOUT,
            )
        log.skipped.add(skipped)
        files += found
        labels += [label] * len(found)
        groups += [group for file in found for group in file.relative_to(folders[name]).parts[:-1][:1]]
    if len(groups) == len(files):
        _warn_of_classes_as_groups(root, folders, groups, labels)
    return _LabelledFiles(root, files, labels, groups if len(groups) == len(files) else None)


def _warn_of_classes_as_groups(
    root: Path, folders: Mapping[str, Path], groups: list[str], labels: list[int]
) -> None:
    """Log a warning where every class has the same few subfolders, which may be the classes themselves."""
    of_class: dict[int, set[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        of_class.setdefault(label, set()).add(group)
    alike = {frozenset(names) for names in of_class.values()}
    names = sorted(next(iter(alike))) if len(alike) == 1 else []
    if len(of_class) > 1 and 1 < len(names) <= len(groups) // 4:
        _log.warning(
            "%s: %s are read as classes and their subfolders %s as groups; if the subfolders are the classes,"
            " rename the folders to train and test",
            root,
            ", ".join(list(folders)[:3]),
            ", ".join(names[:3]),
        )


def _without_labels(root: Path, name: str, log: _LoadLog) -> Examples:
    files = images_below(root, log.skipped)
    if not files:
        raise InputError(f"{root}: no image files", "images without labels", "remove the empty folder")
    y = torch.full((len(files),), UNLABELLED)
    return Examples(_stacked(files, log.seen), y, (), f"{name} unlabelled")


def _stacked(files: list[Path], seen: Counter[str]) -> Tensor:
    """Read images of one size and depth (N, C, H, W), uint8 or uint16, each decoded in place."""
    first = header = read_header(files[0], seen)
    channels = first.channels
    for file in files[1:]:
        header = read_header(file, seen)
        _check_alike(first, header, file)
        channels = max(channels, header.channels)
    shape = (len(files), channels, first.height, first.width)
    _check_proportion(files, math.prod(shape) * first.dtype.itemsize)
    try:
        stacked = np.empty(shape, first.dtype)
    except MemoryError:
        gib = int(np.prod(shape, dtype=np.float64)) * first.dtype.itemsize / 2**30
        raise InputError(
            f"{len(files):,} images that take {gib:,.1f} GiB",
            "images that fit into memory",
            "take fewer",
        ) from None
    for position, file in enumerate(files):
        pixels = read_pixels(file, seen)
        alike = pixels.shape[1:] == stacked.shape[2:] and pixels.shape[0] in (1, channels)
        if not alike or pixels.dtype != stacked.dtype:
            raise InputError(f"{file}: changed while it was read", "files that stay", "run again")
        stacked[position] = pixels  # one grey channel spreads over three
    return torch.from_numpy(stacked)


def _check_proportion(files: list[Path], unpacked: int) -> None:
    """Raise InputError for small files that would unpack to much, before memory is allocated."""
    packed = 0
    for file in files:
        with suppress(OSError):  # reported when its pixels are read
            packed += file.stat().st_size
    if unpacked > max(UNPACKED, RATIO * packed):
        raise InputError(
            f"{len(files):,} image files of {packed:,} bytes that would unpack to {unpacked:,}",
            f"at most {RATIO} bytes out of one, beyond {UNPACKED:,}",
            "make the images smaller, or write them with np.savez into an npz file (npz:FILE)",
        )


def _check_alike(first: ImageHeader, header: ImageHeader, file: Path) -> None:
    if (header.width, header.height) != (first.width, first.height):
        raise InputError(
            f"{file}: {header.width}x{header.height} pixels where the first image has "
            f"{first.width}x{first.height}",
            "images of one size",
            "resize them all, for example with Pillow's Image.resize",
        )
    if header.dtype != first.dtype:
        raise InputError(
            f"{file}: {header.dtype} pixels among {first.dtype}", "one depth", "convert the files to one"
        )
