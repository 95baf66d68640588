"""Image files that Pillow can't write, and a reader that compares header and pixels."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harden.data.formats.image_files import read_header, read_pixels


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(path: Path, pixels: NDArray[np.uint16], kind: int) -> None:
    """A PNG file of 16 bits a channel, (H, W, C), which Pillow can't write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    ends = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + ends)


def tiff(path: Path, channels: int, photometric: int, bits: int = 16) -> None:
    """An uncompressed TIFF file of 4x3 pixels, which Pillow can't write for 16-bit colour."""
    size = 12 * channels * bits // 8
    begin = 8 + 2 + 9 * 12 + 4 + 2 * channels
    tags = [
        (256, 3, 1, 4),
        (257, 3, 1, 3),
        (258, 3, channels, bits if channels == 1 else begin - 2 * channels),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, begin),
        (277, 3, 1, channels),
        (278, 3, 1, 3),
        (279, 4, 1, size),
    ]
    body = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, kind, count, value in tags:
        body += struct.pack("<HHII", tag, kind, count, value)
    path.write_bytes(body + bytes(4) + struct.pack(f"<{channels}H", *[bits] * channels) + bytes(size))


def read(file: Path) -> tuple[NDArray[Any], Counter[str]]:
    seen: Counter[str] = Counter()
    header, pixels = read_header(file, seen), read_pixels(file, seen)
    assert pixels.shape == (header.channels, header.height, header.width)
    assert pixels.dtype == header.dtype
    return pixels, seen
