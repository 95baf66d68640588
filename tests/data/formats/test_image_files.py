"""Image files: accepted formats, and refusals where content would be lost without an error."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harden.data.formats.image_files import read_header
from harden.errors import InputError
from tests.data.formats.written_images import chunk, png, read, tiff

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.gif", "GIF"), ("a.tif", "TIFF"), ("a.png", "PNG"), ("a.webp", "WEBP")]
)
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    random = np.random.default_rng(1)
    frames = [Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)) for _ in range(4)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=f"4 pictures in one {kind} file"):
        read(tmp_path / name)


def test_of_a_cameras_file_the_first_picture_is_taken_and_said(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:])
    pixels, seen = read(tmp_path / "a.mpo")
    assert pixels[0].min() > 200
    assert seen["in MPO files of several pictures, of which the first is taken"] == 1


def test_a_picture_beyond_the_limit_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    for side in (20_000, 10_000):  # Pillow's error, and what is a warning to it
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        (tmp_path / "slide.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        )
        with pytest.raises(InputError, match=rf"slide\.png: {side * side:,} pixels; expected at most"):
            read(tmp_path / "slide.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".eps", ".ps", ".tga", ".tif"])
def test_postscript_is_never_opened(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", started)
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, "EPS")
    (tmp_path / f"a{suffix}").write_bytes(stream.getvalue())
    with pytest.raises(InputError, match="unreadable"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"%PDF-1.7", "a PDF"),
        (b"<!doctype html>", "HTML"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"nothing", "no format that is known"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "a.png")


def test_a_truncated_file_is_unreadable(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.tif", "a.bmp"):
        stream = tmp_path / name
        Image.fromarray(COLOUR).save(stream)
        stream.write_bytes(stream.read_bytes()[:-40])
        with pytest.raises(InputError, match="unreadable"):
            read(stream)


def test_content_decides_and_another_suffix_is_said(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.JPG")
    pixels, seen = read(tmp_path / "a.JPG")
    assert np.array_equal(pixels, COLOUR.transpose(2, 0, 1))
    assert seen == {"of PNG content under another suffix": 1}


@pytest.mark.parametrize(
    ("mode", "channels", "said"),
    [
        ("1", 1, ""),
        ("L", 1, ""),
        ("P", 3, ""),
        ("LA", 1, "with an alpha channel that is opaque and left out"),
        ("RGBA", 3, "with an alpha channel that is opaque and left out"),
        ("CMYK", 3, "in CMYK, converted to RGB without a colour profile"),
    ],
)
def test_modes(tmp_path: Path, mode: str, channels: int, said: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    pixels, seen = read(next(tmp_path.iterdir()))
    assert len(pixels) == channels
    assert list(seen) == ([said] if said else [])


def test_transparency_is_refused(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA"):
        image = Image.fromarray(COLOUR).convert(mode)
        image.putalpha(100)
        image.save(tmp_path / "a.png")
        with pytest.raises(InputError, match="transparent"):
            read(tmp_path / "a.png")


def test_a_16_bit_value_that_stands_for_transparency_is_transparency(tmp_path: Path) -> None:
    file, pixels = tmp_path / "a.png", np.arange(300, 330, dtype=np.uint16).reshape(6, 5, 1)
    png(file, pixels, 0)
    whole = file.read_bytes()
    begin = whole.index(b"IDAT") - 4
    for value, says in ((299, None), (305, "transparent")):
        file.write_bytes(whole[:begin] + chunk(b"tRNS", struct.pack(">H", value)) + whole[begin:])
        if says is None:
            found, seen = read(file)
            assert np.array_equal(found, pixels.transpose(2, 0, 1))
            assert seen == {"with an alpha channel that is opaque and left out": 1}
        else:
            with pytest.raises(InputError, match=says):
                read(file)


def test_pictures_of_a_tiff_file_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    """Pillow compares each with all before it: a file of some megabytes took minutes."""
    file, n = tmp_path / "a.tif", 20_000
    tiff(file, 1, 1, 8)
    content = file.read_bytes()
    length = 2 + 9 * 12 + 4
    folder = content[8 : 8 + length - 4]
    file.write_bytes(
        content[:8]
        + b"".join(folder + struct.pack("<I", 8 + at * length) for at in range(1, n))
        + folder
        + bytes(4)
    )
    with pytest.raises(InputError, match=r"1,000 pictures or more in one TIFF file"):
        read_header(file, Counter())


def test_a_small_file_of_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    forms: dict[str, dict[str, Any]] = {"a.png": {}, "a.tif": {"compression": "tiff_deflate"}}
    for name, options in forms.items():
        Image.new("L", (5000, 4000)).save(tmp_path / name, **options)
        with pytest.raises(InputError, match=r"[\d,]+ bytes that would unpack to 20,000,000 pixels"):
            read_header(tmp_path / name, Counter())
    Image.new("L", (5000, 4000)).save(tmp_path / "a.bmp")
    assert read(tmp_path / "a.bmp")[0].shape == (1, 4000, 5000)


def test_a_picture_that_does_not_fit_into_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(InputError, match=r"a\.png: a picture that does not fit into memory"):
        read_header(tmp_path / "a.png", Counter())


def test_a_cameras_orientation_is_not_applied_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    pixels, seen = read(tmp_path / "a.png")
    assert np.array_equal(pixels, COLOUR.transpose(2, 0, 1))
    assert seen == {"with a camera's orientation tag, which is not applied": 1}


def test_pipes_sockets_and_missing_files_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    os.mkfifo("pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s.png")
        for file in (Path("pipe.png"), Path("s.png"), Path("/dev/zero"), Path("absent.png")):
            with pytest.raises(InputError, match="no regular file"):
                read_header(file, Counter())
