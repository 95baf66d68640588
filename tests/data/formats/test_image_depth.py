"""Bits per channel of image files: more than 8 are kept or refused, never reduced."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harden.data.formats.image_files import read_header
from harden.errors import InputError
from tests.data.formats.written_images import png, read, tiff

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(("channels", "kind"), [(3, 2), (2, 4), (4, 6)])
def test_sixteen_bits_that_pillow_would_cut_are_refused(tmp_path: Path, channels: int, kind: int) -> None:
    png(tmp_path / "a.png", np.full((6, 5, channels), 65535, dtype=np.uint16), kind)
    with pytest.raises(InputError, match=r"a\.png: pixels of 16 bits a channel.*npz"):
        read(tmp_path / "a.png")


def test_sixteen_bit_grey_is_kept_whole(tmp_path: Path) -> None:
    pixels = np.arange(300, 330, dtype=np.uint16).reshape(6, 5, 1)
    png(tmp_path / "a.png", pixels, 0)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        assert np.array_equal(read(tmp_path / name)[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("channels", "photometric", "says"),
    [(3, 2, "16 bits a channel"), (4, 5, "16 bits a channel"), (1, 0, "0 is white")],
)
def test_sixteen_bit_tiff(tmp_path: Path, channels: int, photometric: int, says: str) -> None:
    tiff(tmp_path / "a.tif", channels, photometric)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "a.tif")


def test_sixteen_bit_ppm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    with pytest.raises(InputError, match="16 bits a channel"):
        read(tmp_path / "a.ppm")
    (tmp_path / "b.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    assert read(tmp_path / "b.ppm")[0].shape == (3, 2, 2)


def test_the_depth_of_jpeg_2000_is_that_of_its_codestream(tmp_path: Path) -> None:
    """Metadata in front may be long, and may hold bytes like those of a codestream of 8 bits."""
    file = tmp_path / "a.jp2"
    Image.fromarray(COLOUR).save(file)
    content = bytearray(file.read_bytes())
    begin = content.index(b"\xff\x4f\xff\x51")
    eight = bytes(content[begin : begin + 60])
    for place in (begin + 42, begin + 45, begin + 48):
        content[place] = 11  # 12 bits
    box = begin - 8
    for metadata in (eight, bytes(1 << 17)):
        inner = struct.pack(">I", 8 + len(metadata)) + b"free" + metadata
        file.write_bytes(content[:box] + inner + content[box:])
        with pytest.raises(InputError, match="16 bits a channel"):
            read_header(file, Counter())
