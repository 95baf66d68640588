"""Pictures of which a file holds a part: Pillow makes the rest black, and no error."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harden.data import image_completeness
from harden.data.formats.image_files import read_header, read_pixels
from harden.errors import InputError

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    rows: list[bytes], size: tuple[int, int], depth: int, kind: int, *, more: bytes = b"", interlaced: int = 0
) -> bytes:
    head = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    cut = len(pixels) // 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + more
        + chunk(b"IDAT", pixels[:cut])
        + chunk(b"IDAT", pixels[cut:])
        + chunk(b"IEND", b"")
    )


def read(file: Path) -> NDArray[Any]:
    seen: Counter[str] = Counter()
    read_header(file, seen)
    return read_pixels(file, seen)


@pytest.mark.parametrize(
    ("depth", "kind", "row"),
    [
        (8, COLOUR, 15),
        (8, GREY, 5),
        (1, GREY, 1),
        (2, GREY, 2),
        (4, GREY, 3),
        (16, GREY, 10),
        (8, COLOUR_ALPHA, 20),
    ],
)
@pytest.mark.parametrize("value", [0, 255])
def test_rows_that_a_png_file_lacks_are_missed(
    tmp_path: Path, depth: int, kind: int, row: int, value: int
) -> None:
    file, rows = tmp_path / "a.png", [bytes([value]) * row] * 6
    if kind == COLOUR_ALPHA:
        rows = [b"\0\0\0\xff" * 5] * 6
    file.write_bytes(png(rows, (5, 6), depth, kind))
    assert read(file).shape[1:] == (6, 5)
    for held in (1, 5):
        file.write_bytes(png(rows[:held], (5, 6), depth, kind))
        with pytest.raises(InputError, match=r"a\.png: (incomplete \(its rows end early|.*is truncated)"):
            read(file)


def test_a_png_file_begins_with_its_header(tmp_path: Path) -> None:
    """Pillow takes a header that comes behind pixels, and which pixels it takes is nowhere written."""
    file, content = tmp_path / "a.png", png([b"\5" * 5] * 6, (5, 6), 8, GREY)
    file.write_bytes(content[:8] + chunk(b"IDAT", zlib.compress(bytes(36))) + content[8:])
    with pytest.raises(InputError, match=r"a\.png: (incomplete \(its header is not in front|unreadable)"):
        read(file)
    file.write_bytes(content)
    assert read(file).max() == 5


def interlaced(pixels: NDArray[np.uint8]) -> list[bytes]:
    return [
        pixels[y, column::across].tobytes()
        for column, row, across, down in PASSES
        for y in range(row, len(pixels), down)
        if column < pixels.shape[1]
    ]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (9, 8), (3, 17)])
def test_an_interlaced_png_file_has_all_passes(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, size[::-1], dtype=np.uint8)
    rows, file = interlaced(pixels), tmp_path / "a.png"
    file.write_bytes(png(rows, size, 8, GREY, interlaced=1))
    assert np.array_equal(read(file)[0], pixels)
    if len(rows) > 1:
        file.write_bytes(png(rows[:-1], size, 8, GREY, interlaced=1))
        with pytest.raises(InputError, match="incomplete"):
            read(file)


def test_a_last_row_that_is_not_black_costs_no_second_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_completeness, "_has_all_rows", lambda _: False)
    Image.new("L", (5, 6), 7).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").max() == 7
    Image.new("L", (5, 6), 0).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="incomplete"):
        read(tmp_path / "a.png")


def test_a_colour_that_the_palette_lacks_is_no_colour(tmp_path: Path) -> None:
    colours, file = chunk(b"PLTE", bytes(range(90, 120))), tmp_path / "a.png"
    file.write_bytes(png([bytes([9, 0, 3])] * 2, (3, 2), 8, PALETTE, more=colours))
    assert read(file)[0].tolist() == [[117, 90, 99]] * 2
    file.write_bytes(png([bytes([10, 0, 3])] * 2, (3, 2), 8, PALETTE, more=colours))
    with pytest.raises(InputError, match=r"a\.png: incomplete \(colour 10 of a palette of 10\)"):
        read(file)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif", "pcx", "tga"])
@pytest.mark.parametrize("colours", [2, 4, 17, 256])
def test_palettes_as_they_are_written_are_read(tmp_path: Path, suffix: str, colours: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (17, 16, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).quantize(colours)
    image.save(tmp_path / f"a.{suffix}")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read(tmp_path / f"a.{suffix}"), expected)


def tiff(strips: int, rows: int, height: int) -> bytes:
    """Grey, 4 pixels wide, in strips of so many rows, one behind the other."""
    tags, place = 9, 8 + 2 + 9 * 12 + 4
    begin = place + (8 * strips if strips > 1 else 0)
    offsets = [begin + number * 4 * rows for number in range(strips)]
    lists = struct.pack(f"<{2 * strips}I", *offsets, *[4 * rows] * strips) if strips > 1 else b""
    entries = [
        (256, 3, 1, 4),
        (257, 3, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, strips, place if strips > 1 else offsets[0]),
        (277, 3, 1, 1),
        (278, 3, 1, rows),
        (279, 4, strips, place + 4 * strips if strips > 1 else 4 * rows),
    ]
    body = struct.pack("<2sHIH", b"II", 42, 8, tags) + b"".join(struct.pack("<HHII", *e) for e in entries)
    return body + bytes(4) + lists + bytes([200]) * (4 * rows * strips)


@pytest.mark.parametrize("strips", [1, 2])
def test_strips_that_a_tiff_file_does_not_list_are_missed(tmp_path: Path, strips: int) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(3, 2, 6))
    assert read(file).tolist() == [[[200] * 4] * 6]
    file.write_bytes(tiff(strips, 2, 6))
    with pytest.raises(InputError, match=rf"incomplete \(strips for {8 * strips} of 24 pixels\)"):
        read(file)
