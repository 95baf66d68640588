"""Reader of image files: accepted formats, headers and pixels."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harden.data.formats.image_completeness import missing_pixels, missing_strips
from harden.data.formats.image_depth import is_deep
from harden.data.image_checks import RATIO
from harden.errors import InputError
from harden.system.atomic_files import refuse_pointer_at

Pixels = NDArray[Any]  # (C, H, W), uint8 or uint16

# No other reader of Pillow's is used: that of PostScript starts a program.
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
_WITHOUT_SIGNATURE = ("TGA", "PCX")  # they accept files of other formats, so the suffix is required

_GREY = frozenset({"1", "L", "LA", "La"})
# What converts to RGB without loss of range; 32-bit integers and floats would be cut to 0..255.
_COLOUR = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB"})
_BY_FORMULA = frozenset({"CMYK", "YCbCr", "HSV", "LAB"})
_PHOTOMETRIC, _ORIENTATION = 262, 274
_MOST_COUNTED = 1000
_PIXELS = 2**24
"""Pixels allowed in a file of any size: a photograph has three a byte, a flat picture a thousand."""
_CONTENTS = {
    b"%!": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "a PDF",
    b"<": "HTML, SVG or XML",
    b"\x89HDF": "HDF5",
    b"PK": "a zip archive",
}


@final
@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size and type of a file's image, before it is decoded.

    Attributes:
        width: in pixels.
        height: in pixels.
        channels: 1 or 3.
        dtype: uint8, or uint16 for 16-bit grey.
    """

    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]


@cache
def image_suffixes() -> dict[str, str]:
    """Return the suffixes of image files, in lower case, and Pillow's name of the format of each."""
    known = (*_FORMATS, *_WITHOUT_SIGNATURE)
    return {suffix: kind for suffix, kind in Image.registered_extensions().items() if kind in known}


def read_header(file: Path, seen: Counter[str]) -> ImageHeader:
    """Read the header of a file without decoding it, and count remarkable properties in `seen`.

    Raises:
        InputError: it can't be read, holds several pictures, is larger than Pillow's limit, or its pixels
            have no faithful form in uint8, nor in uint16 for grey.
    """
    with _opened(file) as image:
        mode, deep = image.mode, is_deep(image, file)
        if mode.startswith("I;16"):
            _check_white(image, file)
        elif deep or mode not in _GREY | _COLOUR:
            what = "16 bits a channel" if mode in _GREY | _COLOUR else f"Pillow's mode {mode}"
            raise InputError(
                f"{file}: pixels of {what}, which Pillow would cut to 8 bits",
                "8 bits a channel, or 16-bit grey without transparency",
                "write the pixels into an npz file as uint16 (npz:FILE), or convert the files to 8 bits",
            )
        _check_proportion(image, file)
        if lacking := missing_strips(image):
            raise _incomplete(file, lacking)
        _count_pictures(image, file, seen)
        kind = image_suffixes().get(file.suffix.lower(), "")
        if {kind, image.format} not in ({image.format}, {"JPEG", "MPO"}):
            seen[f"of {image.format} content under another suffix"] += 1
        if mode in _BY_FORMULA:
            seen[f"in {mode}, converted to RGB without a colour profile"] += 1
        sixteen = mode.startswith("I;16")
        width, height = image.size
        channels = 1 if sixteen or mode in _GREY else 3
        return ImageHeader(width, height, channels, np.dtype(np.uint16 if sixteen else np.uint8))


def read_pixels(file: Path, seen: Counter[str]) -> Pixels:
    """Decode one image (C, H, W), uint8 or uint16, and count in `seen` the properties that are ignored.

    Raises:
        InputError: it can't be read, or is transparent.
    """
    with _opened(file) as image:
        declared = image.size
        image.load()
        if image.size != declared:  # Pillow rotates a TIFF file's picture, twice where the tag is damaged
            raise InputError(
                f"{file}: {declared[0]}x{declared[1]} pixels in its header and "
                f"{image.width}x{image.height} in the picture",
                "one size",
                "write it again without an orientation tag",
            )
        if lacking := missing_pixels(image, file):
            raise _incomplete(file, lacking)
        if image.getexif().get(_ORIENTATION, 1) not in (0, 1):
            seen["with a camera's orientation tag, which is not applied"] += 1
        if image.has_transparency_data:
            if _is_transparent(image):
                raise InputError(
                    f"{file}: a transparent image", "opaque images", "flatten it onto a background"
                )
            seen["with an alpha channel that is opaque and left out"] += 1
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)[np.newaxis]
        wanted = "L" if image.mode in _GREY else "RGB"
        # Pillow would copy an image that has this mode already; a copy takes 4 bytes a pixel.
        pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
        return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):  # a PNG file's one transparent value; Pillow keeps it
        return bool((np.asarray(image) == image.info["transparency"]).any())
    return bool(image.convert("RGBA").getchannel("A").getextrema() != (255, 255))


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open a regular file as one of the known formats; errors inside are raised as InputError."""
    try:
        if not file.is_file():
            raise InputError(f"{file}: no regular file", "an image file", "replace or remove it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual metadata; relevant properties are checked here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_formats(file)) as image:
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = re.search(r"\((\d+) pixels\)", str(error))
        raise InputError(
            f"{file}: {int(size[1]):,} pixels" if size else f"{file}: too many pixels",
            f"at most {Image.MAX_IMAGE_PIXELS or 0:,}, Pillow's limit for what a file may unpack to",
            "cut it into tiles or make it smaller",
        ) from None
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{file}: a picture that does not fit into memory", "smaller ones", "cut it or make it smaller"
        ) from None
    except Exception as error:  # Pillow's readers each raise their own on damaged files
        raise _unreadable(file, error) from error


def _formats(file: Path) -> list[str]:
    kind = image_suffixes().get(file.suffix.lower(), "")
    wanted = (*_FORMATS, kind) if kind in _WITHOUT_SIGNATURE else _FORMATS
    return [name for name in wanted if name in Image.OPEN]


def _unreadable(file: Path, error: Exception) -> InputError:
    refuse_pointer_at(file)
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError as gone:
        return InputError(
            f"{file}: {gone.strerror}", "a file that stays while it is read", "put it back, and run again"
        )
    if not start:
        reason = "an empty file"
    elif start[128:] == b"DICM":
        reason = "DICOM"
    elif isinstance(error, UnidentifiedImageError):
        found = (what for first, what in _CONTENTS.items() if start.lstrip().startswith(first))
        reason = next(found, "no format that is known here")
    else:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{file}: unreadable ({reason})", "a complete image file", "replace or remove it")


def _count_pictures(image: Image.Image, file: Path, seen: Counter[str]) -> None:
    """Raise InputError for several pictures in a file; of a camera's file the first is read."""
    pictures = _pictures(image)
    if pictures < 2:
        return
    if image.format != "MPO":
        raise InputError(
            f"{file}: {pictures:,} pictures{' or more' if pictures == _MOST_COUNTED else ''} "
            f"in one {image.format} file",
            "one picture a file",
            "write each of them, or the one that is meant, to a file of its own",
        )
    seen["in MPO files of several pictures, of which the first is taken"] += 1


def _check_proportion(image: Image.Image, file: Path) -> None:
    """Raise InputError for a small file of a large picture, before memory is allocated for its pixels."""
    pixels, size = image.width * image.height, file.stat().st_size
    if pixels > max(_PIXELS, RATIO * size):
        raise InputError(
            f"{file}: {size:,} bytes that would unpack to {pixels:,} pixels",
            f"at most {RATIO} out of one byte, beyond {_PIXELS:,}",
            "make it smaller, or write the pixels into an npz file (npz:FILE)",
        )


def _pictures(image: Image.Image) -> int:
    """Count the pictures, of a TIFF file up to _MOST_COUNTED, since Pillow's time is quadratic."""
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1))
    count = 1
    with suppress(EOFError):
        while count < _MOST_COUNTED:
            image.seek(count)
            count += 1
    image.seek(0)
    return count


def _incomplete(file: Path, what: str) -> InputError:
    return InputError(f"{file}: incomplete ({what})", "a complete image file", "replace or remove it")


def _check_white(image: Image.Image, file: Path) -> None:
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(_PHOTOMETRIC) == 0:
        raise InputError(
            f"{file}: 16-bit grey in which 0 is white, which Pillow does not invert",
            "0 for black",
            "write 65535 - pixels into a new file",
        )
