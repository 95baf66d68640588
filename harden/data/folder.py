"""Data in folders of image files, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from harden.data.examples import Examples
from harden.data.splitting import Splits, split
from harden.errors import InputError

_Pixels = NDArray[Any]  # (C, H, W), uint8 or uint16
_LAYOUT = "lay files out as DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"

# What converts to RGB without loss of range; 32-bit integers and floats would be cut to 0..255.
_COLOUR = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "LA", "La", "CMYK", "YCbCr", "HSV", "LAB"})


def load_folder(path: str) -> Splits:
    """Load DIR/train and DIR/test, or DIR alone with a stratified third (seed 0) for test.

    Files that Pillow does not know by their suffix are passed over. Grey images become (1, H, W), others
    (3, H, W); where both occur all become (3, H, W). 16-bit grey stays 16-bit. Pixels are as stored: a
    camera's orientation tag is not applied.

    Raises:
        InputError: no such folder, fewer than two classes, a class without images, a damaged file, a file
            with transparency, images of different size, or other classes in test than in train.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"folder:{path}: no such folder", "a folder of folders", _LAYOUT)
    if (root / "train").is_dir() and (root / "test").is_dir():
        classes = _classes(root / "train")
        unknown = sorted(set(_classes(root / "test")) - set(classes))
        if unknown:
            raise InputError(
                f"folder:{path}: test has classes {', '.join(unknown)}, which train lacks",
                "the same classes",
                _LAYOUT,
            )
        return Splits(_read(root / "train", classes), _read(root / "test", classes), root.name)
    whole = _read(root, _classes(root))
    return Splits(*split(whole, 1 / 3, seed=0), root.name)


def _classes(root: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(names) < 2:
        raise InputError(
            f"{root}: {len(names)} folders", "one folder for each of at least two classes", _LAYOUT
        )
    return names


def _read(root: Path, classes: tuple[str, ...]) -> Examples:
    known = Image.registered_extensions()
    decoded: list[_Pixels] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            file for file in (root / name).rglob("*") if file.suffix.lower() in known and file.is_file()
        )
        if not files and (root / name).is_dir():
            raise InputError(f"{root / name}: no image files", "at least one image a class", _LAYOUT)
        for file in files:
            decoded.append(_decode(file))
            labels.append(label)
            _check_alike(decoded[0], decoded[-1], file)
    channels = max(image.shape[0] for image in decoded)
    stacked = np.empty((len(decoded), channels, *decoded[0].shape[1:]), decoded[0].dtype)
    for position, image in enumerate(decoded):
        stacked[position] = image  # one grey channel spreads over three
    return Examples(torch.from_numpy(stacked), torch.tensor(labels), classes, f"{root.name}")


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
