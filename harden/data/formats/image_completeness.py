"""Completeness checks of image files, whose missing pixels Pillow decodes as black without an error."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

_PIECE = 1 << 16
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples in each pixel, by a PNG file's type of colour."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG file, and steps between columns and rows."""


def missing_pixels(image: Image.Image, file: Path) -> str:
    """Describe the part of an image that the file lacks; "" where nothing is known to be missing.

    Checked are a PNG file's header, its rows where the compressed stream ends early, and colours that a
    palette lacks; `missing_strips` checks TIFF files. Errors inside a lossy or damaged stream are not
    detected.

    Args:
        image: the loaded image.
        file: the file that it was loaded from.
    """
    if image.format == "PNG":
        if next(_pieces(file), (b"", b""))[0] != b"IHDR":
            return "its header is not in front"
        if _may_lack_rows(image) and not _has_all_rows(file):
            return "its rows end early"
    if image.mode in ("P", "PA"):
        highest = int(np.asarray(image.getchannel(0) if image.mode == "PA" else image).max())
        colours = len(image.getpalette() or ()) // 3
        if highest >= colours:
            return f"colour {highest} of a palette of {colours}"
    return ""


def missing_strips(image: Image.Image) -> str:
    """Describe the part of a TIFF image that no strip or tile holds; "" where they hold all.

    Args:
        image: the image, opened and not loaded.
    """
    if image.format != "TIFF":
        return ""
    places = {tuple(tile.extents or (0, 0, 0, 0)) for tile in getattr(image, "tile", ())}
    found = sum(max(0, right - left) * max(0, lower - upper) for left, upper, right, lower in places)
    size = image.width * image.height
    return f"strips for {found:,} of {size:,} pixels" if found < size else ""


def _may_lack_rows(image: Image.Image) -> bool:
    """Return whether the last row is black, as a missing row is, or the file is interlaced."""
    if image.info.get("interlace"):
        return True
    last = image.crop((0, image.height - 1, image.width, image.height))
    return not np.asarray(last).any()


def _has_all_rows(file: Path) -> bool:
    """Return whether a PNG file's stream holds as many bytes as its header declares."""
    expected = found = 0
    inflate = zlib.decompressobj()
    for name, piece in _pieces(file):
        if name == b"IHDR" and len(piece) >= 13:  # of several headers, Pillow uses the last before the pixels
            expected = _bytes_of(piece)
        if name != b"IDAT":
            continue
        while piece and not inflate.eof and found < expected:
            found += len(inflate.decompress(piece, _PIECE))
            piece = inflate.unconsumed_tail
        if inflate.eof or found >= expected:
            break
    return found + len(inflate.flush(_PIECE)) >= expected


def _pieces(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the chunks of a PNG file, each in pieces."""
    with file.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            left, name = int.from_bytes(head[:4], "big"), head[4:]
            while left > 0 and (piece := stream.read(min(left, _PIECE))):
                left -= len(piece)
                yield name, piece
            stream.seek(4, 1)


def _bytes_of(header: bytes) -> int:
    """Number of bytes of the rows, each with its filter's number."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _SAMPLES.get(header[9], 1)
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    total = 0
    for column, row, across, down in passes:
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
