"""Data in folders of image files, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from harden.data.checks import UNLABELLED
from harden.data.examples import Examples
from harden.data.groups import group_numbers
from harden.data.splitting import Splits, split
from harden.errors import InputError
from harden.files import refuse_pointer_at

_Pixels = NDArray[Any]  # (C, H, W), uint8 or uint16
_LAYOUT = "lay files out as DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"
_UNLABELLED = "unlabelled"

# What converts to RGB without loss of range; 32-bit integers and floats would be cut to 0..255.
_COLOUR = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "LA", "La", "CMYK", "YCbCr", "HSV", "LAB"})


def load_folder(path: str) -> Splits:
    """Load DIR/train and DIR/test, or DIR alone with a stratified third (seed 0) for test.

    Files that Pillow does not know by their suffix are passed over. Grey images become (1, H, W), others
    (3, H, W); where both occur all become (3, H, W). 16-bit grey stays 16-bit. Pixels are as stored: a
    camera's orientation tag is not applied.

    Where every image of a part lies in a subfolder of its class's folder, the subfolder's name is its group
    (patient, track), the same in all classes; one and the same name for all images is no group.
    DIR/unlabelled holds images without labels, in folders or not.

    Raises:
        InputError: no such folder, fewer than two classes, a class without images, a damaged file, a file
            with transparency, images of different size, other classes in test than in train, or a group in
            both.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"folder:{path}: no such folder", "a folder of folders", _LAYOUT)
    extra = _without_labels(root / _UNLABELLED, root.name) if (root / _UNLABELLED).is_dir() else None
    if (root / "train").is_dir() and (root / "test").is_dir():
        classes = _classes(root / "train")
        unknown = sorted(set(_classes(root / "test")) - set(classes))
        if unknown:
            raise InputError(
                f"folder:{path}: test has classes {', '.join(unknown)}, which train lacks",
                "the same classes",
                _LAYOUT,
            )
        train, test = _read([root / "train", root / "test"], classes)
        return Splits(train, test, root.name, extra)
    (whole,) = _read([root], _classes(root))
    return Splits(*split(whole, 1 / 3, seed=0), root.name, extra)


def _classes(root: Path) -> tuple[str, ...]:
    folders = (entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
    names = tuple(sorted(name for name in folders if name != _UNLABELLED))
    if len(names) < 2:
        raise InputError(
            f"{root}: {len(names)} folders", "one folder for each of at least two classes", _LAYOUT
        )
    return names


def _read(roots: list[Path], classes: tuple[str, ...]) -> list[Examples]:
    """Read folders of classes; groups are known by their names in all of them."""
    parts = []
    for root in roots:
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = _files(root / name)
            if not found and (root / name).is_dir():
                raise InputError(f"{root / name}: no image files", "at least one image a class", _LAYOUT)
            files += found
            labels += [label] * len(found)
        parts.append((root, files, labels))
    names = [_group_names(root, files) for root, files, _ in parts]
    known = [part for part in names if part is not None]
    # "images" under every class is a layout, not a group.
    several = len(set().union(*known)) > 1
    numbers = iter(group_numbers(known, [root.name for root in roots][: len(known)]))
    return [
        Examples(
            _stacked(files),
            torch.tensor(labels),
            classes,
            root.name,
            next(numbers) if several and named is not None else None,
        )
        for (root, files, labels), named in zip(parts, names, strict=True)
    ]


def _without_labels(root: Path, name: str) -> Examples:
    files = _files(root)
    if not files:
        raise InputError(f"{root}: no image files", "images without labels", "remove the empty folder")
    y = torch.full((len(files),), UNLABELLED)
    return Examples(_stacked(files), y, (), f"{name} {_UNLABELLED}")


def _files(root: Path) -> list[Path]:
    known = Image.registered_extensions()
    return sorted(file for file in root.rglob("*") if file.suffix.lower() in known and file.is_file())


def _group_names(root: Path, files: list[Path]) -> list[str] | None:
    """Give the name of each file's folder below its class's, or None where one lies in the class's itself."""
    below = [file.relative_to(root).parts[1:-1] for file in files]
    return [folders[0] for folders in below] if all(below) else None


def _stacked(files: list[Path]) -> Tensor:
    """Read images of one size and depth (N, C, H, W), uint8 or uint16."""
    decoded: list[_Pixels] = []
    for file in files:
        decoded.append(_decode(file))
        _check_alike(decoded[0], decoded[-1], file)
    channels = max(image.shape[0] for image in decoded)
    stacked = np.empty((len(decoded), channels, *decoded[0].shape[1:]), decoded[0].dtype)
    for position, image in enumerate(decoded):
        stacked[position] = image  # one grey channel spreads over three
    return torch.from_numpy(stacked)


def _decode(file: Path) -> _Pixels:
    """Give one image (C, H, W), uint8 or uint16."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)[np.newaxis]
            if image.mode in ("1", "L"):
                return np.asarray(image.convert("L"))[None]
            if image.mode not in _COLOUR:
                raise InputError(
                    f"{file}: pixels of Pillow's mode {image.mode}",
                    "8 or 16 bits a channel",
                    "rescale to 16-bit PNG, or pass an npz file",
                )
            if _transparent(image):
                raise InputError(
                    f"{file}: a transparent image", "opaque images", "flatten it onto a background"
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        refuse_pointer_at(file)
        raise InputError(
            f"{file}: unreadable ({error})", "a complete image file", "replace or remove it"
        ) from error


def _transparent(image: Image.Image) -> bool:
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    return alpha is not None and alpha.getextrema() != (255, 255)


def _check_alike(first: _Pixels, image: _Pixels, file: Path) -> None:
    if first.shape[1:] != image.shape[1:]:
        raise InputError(
            f"{file}: {image.shape[2]}x{image.shape[1]} pixels where the first image has "
            f"{first.shape[2]}x{first.shape[1]}",
            "images of one size",
            "resize them all, for example with Pillow's Image.resize",
        )
    if first.dtype != image.dtype:
        raise InputError(
            f"{file}: {image.dtype} pixels among {first.dtype}", "one depth", "convert the files to one"
        )
