"""Bits per channel of image files, since Pillow reduces colour to 8 bits without an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from PIL import Image

_DEEP = re.compile(r"(?<!BGR);(12|16)")
_BITS_PER_SAMPLE = 258
_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a codestream, before image and tile size."""
_HEAD = 1 << 20


def is_deep(image: Image.Image, file: Path) -> bool:
    """Return whether the file has more than 8 bits a channel where Pillow's mode does not show it."""
    for tile in getattr(image, "tile", ()):
        values = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        for value in values:
            if isinstance(value, str) and _DEEP.search(value):
                return True
        if image.format == "PPM" and isinstance(values[-1], int) and values[-1] > 255:
            return True
    tags = getattr(image, "tag_v2", None)
    if tags is not None and image.format == "TIFF":
        return bool(max(tags.get(_BITS_PER_SAMPLE, (1,)), default=1) > 8)
    if image.format == "JPEG2000":
        return _depth_of_codestream(file) > 8
    return image.format == "AVIF" and _is_deep_avif(file)


def _depth_of_codestream(file: Path) -> int:
    """The largest number of bits per channel in a JPEG 2000 codestream; 8 where none is found."""
    with file.open("rb") as stream:
        _seek_codestream(stream)
        if stream.read(4) != _CODESTREAM:
            return 8
        stream.seek(36, 1)
        channels = int.from_bytes(stream.read(2), "big")
        depths = stream.read(3 * channels)[::3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8)


def _seek_codestream(stream: BinaryIO) -> None:
    """Move to the codestream at the position that the boxes give: the first such bytes may be metadata."""
    at = 0
    while True:
        stream.seek(at)
        head = stream.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if head.startswith(_CODESTREAM):
            stream.seek(at)
            return
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
            begin = at + 16
        else:
            begin = at + 8
        if name == b"jp2c":
            stream.seek(begin)
            return
        if length < 8:  # the last box, or none
            return
        at += length


def _is_deep_avif(file: Path) -> bool:
    """Return whether a configuration in an AVIF file has 10 or 12 bits; transparency has a separate one."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    configured = [found.end() for found in re.finditer(b"av1C", head)]
    return any(head[at + 2] & 0x40 for at in configured if at + 2 < len(head))
