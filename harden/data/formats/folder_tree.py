"""Which files of a folder are images, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from harden.data.formats.image_files import image_suffixes
from harden.errors import InputError

# What systems and programs leave beside images; all names with a dot in front are hidden as well.
_LEFT_BEHIND = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)


@final
@dataclass(slots=True)
class PassedOver:
    """Count what was met and not read.

    Attributes:
        hidden: names with a dot in front, and what systems leave behind; a folder counts as one.
        suffixes: files that are no images, by suffix.
        beside: images that lie beside the folders of classes, in none of them.
        irregular: pipes, sockets and devices.
    """

    hidden: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    beside: int = 0
    irregular: int = 0

    def add(self, other: PassedOver) -> None:
        """Count what was met elsewhere too."""
        self.hidden += other.hidden
        self.suffixes += other.suffixes
        self.beside += other.beside
        self.irregular += other.irregular

    def describe(self) -> str:
        """Say it in one phrase; nothing where nothing was passed over."""
        said = []
        if self.hidden:
            said.append(f"{self.hidden:,} hidden")
        if self.suffixes:
            named = ", ".join(
                f"{name or 'no suffix'} {count:,}" for name, count in self.suffixes.most_common(5)
            )
            more = ", ..." if len(self.suffixes) > 5 else ""
            said.append(f"{self.suffixes.total():,} without an image's suffix ({named}{more})")
        if self.beside:
            said.append(f"{self.beside:,} images beside the folders of classes")
        if self.irregular:
            said.append(f"{self.irregular:,} that are no regular files")
        return f"passed over: {', '.join(said)}" if said else ""


@final
@dataclass(frozen=True, slots=True)
class Inside:
    """What lies directly in a folder, without what is hidden.

    Attributes:
        folders: their names, sorted.
        images: files with an image's suffix, sorted.
    """

    folders: tuple[str, ...]
    images: tuple[Path, ...]


def inside(folder: Path, passed: PassedOver | None = None) -> Inside:
    """List a folder; links are followed.

    Raises:
        InputError: it can't be listed, or a link to an image leads nowhere.
    """
    passed = PassedOver() if passed is None else passed
    folders, images = [], []
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror}", "a folder that can be listed", "check its path and rights"
        ) from None
    for entry in entries:
        path, suffix = folder / entry.name, Path(entry.name).suffix.lower()
        if entry.name.startswith(".") or entry.name.lower() in _LEFT_BEHIND:
            passed.hidden += 1
        elif entry.is_dir():
            folders.append(entry.name)
        elif suffix not in image_suffixes():
            passed.suffixes[suffix] += 1
        elif entry.is_file():
            images.append(path)
        elif entry.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to nothing",
                "a link to an image",
                "bring what it points to (`git annex get`, `dvc pull`), or remove it",
            )
        else:
            passed.irregular += 1
    return Inside(tuple(folders), tuple(images))


def images_below(folder: Path, passed: PassedOver) -> list[Path]:
    """Give all images in a folder and in the folders below it, sorted; links are followed.

    Raises:
        InputError: as `inside`, or a link leads to a folder above.
    """
    found: list[Path] = []
    _collect(folder, passed, found, set())
    return sorted(found)


def _collect(folder: Path, passed: PassedOver, found: list[Path], above: set[str]) -> None:
    here = os.path.realpath(folder)
    if here in above:
        raise InputError(f"{folder}: a link to a folder above", "folders that end", "remove the link")
    listed = inside(folder, passed)
    found += listed.images
    for name in listed.folders:
        _collect(folder / name, passed, found, above | {here})
