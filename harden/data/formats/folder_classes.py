"""Names of the classes of an image folder, in the order of the labels."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from harden.data.formats.folder_parts import LAYOUT, is_unlabelled
from harden.data.formats.folder_tree import SkippedFiles, list_folder
from harden.errors import InputError

CLASSES_FILE = "classes.txt"
_MOST_BYTES = 1 << 24

_log = logging.getLogger("harden")


def class_folders(root: Path, skipped: SkippedFiles) -> dict[str, Path]:
    """Return the folders of classes by name, sorted by name; names are in Unicode's composed form (NFC).

    Raises:
        InputError: two names are equal in this form.
    """
    listed = list_folder(root, skipped)
    skipped.unclassified += len(listed.images)
    found: dict[str, Path] = {}
    for name in listed.folders:
        if is_unlabelled(name):
            continue
        if not name.isprintable():
            raise InputError(
                f"{root}: a folder named {name!r}",
                "Unicode names that can be printed",
                "rename it: it is a class",
            )
        composed = unicodedata.normalize("NFC", name)
        if composed in found:
            raise InputError(
                f"{root}: two folders named {composed!r}, whose bytes differ",
                "one folder a class",
                "move the images of one of them into the other",
            )
        found[composed] = root / name
    return dict(sorted(found.items()))


def listed_classes(root: Path) -> tuple[str, ...] | None:
    """Return the names in DIR/classes.txt, one a line, in the order of the labels; None without such a file.

    Raises:
        InputError: it can't be read, or a name occurs twice.
    """
    file = root / CLASSES_FILE
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: unreadable ({error})", "a name on each line, in UTF-8", "write it again"
        ) from None
    names = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines if line.strip())
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) < 2000 else None
    if twice is not None or len(set(names)) < len(names):
        raise InputError(f"{file}: {twice or 'names'!r} twice", "each class once", "remove one of the lines")
    return names


def check_two(root: Path, names: Sequence[str]) -> None:
    """Raise InputError unless there are at least two classes."""
    if len(names) > 1:
        return
    below = list_folder(root / names[0]).folders if names and (root / names[0]).is_dir() else ()
    raise InputError(
        f"{root}: {len(names)} folders",
        "one folder for each of at least two classes",
        f"write folder:{root / names[0]} if its folders are meant" if len(below) > 1 else LAYOUT,
    )


def check_known(root: Path, names: Sequence[str], known: Sequence[str], by: str) -> None:
    """Raise InputError where the name of a folder is no known class."""
    unknown = [name for name in names if name not in set(known)]
    if not unknown:
        return
    folded = {name.casefold(): name for name in known}
    close = next(((name, folded[name.casefold()]) for name in unknown if name.casefold() in folded), None)
    raise InputError(
        f"{root}: {root.name} has classes {', '.join(unknown[:5])}, which {by} lacks",
        "the same classes",
        f"rename {root / close[0]} to {close[1]}" if close else LAYOUT,
    )


def order_remark(names: Sequence[str]) -> str:
    """Return a remark on class names that are numbers sorted as text, "" for others."""
    if all(name.isdecimal() for name in names) and list(names) != sorted(names, key=int):
        return f"classes are in the order of their names as text: {', '.join(names[:4])}, ..."
    return ""


def warn_of_case(root: Path, folders: Mapping[str, Path]) -> None:
    """Log a warning where names of classes differ in upper and lower case alone."""
    first: dict[str, str] = {}
    for name in folders:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            _log.warning("%s: %r and %r are two classes, whose names differ in case alone", root, other, name)
            return
