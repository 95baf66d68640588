"""Listing of the image files in a folder tree, with counts of the files that are skipped."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from harden.data.formats.image_files import image_suffixes
from harden.errors import InputError

# Files that systems and programs leave in folders of images; names that begin with a dot are hidden as well.
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
class SkippedFiles:
    """Counts of files that were found and not read.

    Attributes:
        hidden: names that begin with a dot, and files that systems leave behind; a folder counts as one.
        suffixes: files without an image's suffix, by suffix.
        unclassified: images next to the folders of classes, in none of them.
        irregular: pipes, sockets and devices.
    """

    hidden: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    unclassified: int = 0
    irregular: int = 0

    def add(self, other: SkippedFiles) -> None:
        """Add the counts of another part."""
        self.hidden += other.hidden
        self.suffixes += other.suffixes
        self.unclassified += other.unclassified
        self.irregular += other.irregular

    def describe(self) -> str:
        """Describe the counts in one phrase; "" where no file was skipped."""
        parts = []
        if self.hidden:
            parts.append(f"{self.hidden:,} hidden")
        if self.suffixes:
            named = ", ".join(
                f"{name or 'no suffix'} {count:,}" for name, count in self.suffixes.most_common(5)
            )
            more = ", ..." if len(self.suffixes) > 5 else ""
            parts.append(f"{self.suffixes.total():,} without an image's suffix ({named}{more})")
        if self.unclassified:
            parts.append(f"{self.unclassified:,} images in no folder of a class")
        if self.irregular:
            parts.append(f"{self.irregular:,} that are no regular files")
        return f"passed over: {', '.join(parts)}" if parts else ""


@final
@dataclass(frozen=True, slots=True)
class FolderListing:
    """The folders and images directly in a folder, without hidden ones.

    Attributes:
        folders: names of the folders, sorted.
        images: files with an image's suffix, sorted.
    """

    folders: tuple[str, ...]
    images: tuple[Path, ...]


def list_folder(folder: Path, skipped: SkippedFiles | None = None) -> FolderListing:
    """List the folders and images in a folder; links are followed.

    Raises:
        InputError: it can't be listed, or a link to an image leads nowhere.
    """
    skipped = SkippedFiles() if skipped is None else skipped
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
            skipped.hidden += 1
        elif entry.is_dir():
            folders.append(entry.name)
        elif suffix not in image_suffixes():
            skipped.suffixes[suffix] += 1
        elif entry.is_file():
            images.append(path)
        elif entry.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to nothing",
                "a link to an image",
                "bring what it points to (`git annex get`, `dvc pull`), or remove it",
            )
        else:
            skipped.irregular += 1
    return FolderListing(tuple(folders), tuple(images))


def images_below(folder: Path, skipped: SkippedFiles) -> list[Path]:
    """List all images in a folder and in the folders below it, sorted; links are followed.

    Raises:
        InputError: as `list_folder`, or a link leads to a folder above.
    """
    found: list[Path] = []
    _collect(folder, skipped, found, set())
    return sorted(found)


def _collect(folder: Path, skipped: SkippedFiles, found: list[Path], above: set[str]) -> None:
    here = os.path.realpath(folder)
    if here in above:
        raise InputError(f"{folder}: a link to a folder above", "folders that end", "remove the link")
    listed = list_folder(folder, skipped)
    found += listed.images
    for name in listed.folders:
        _collect(folder / name, skipped, found, above | {here})
