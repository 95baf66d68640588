"""Image files with the pixels that they hold, written byte by byte: what a reader has to give, or to refuse.

PNG, TIFF, BMP and PPM are written here, from their specifications; the others by Pillow, without answers.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_KINDS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True)
class Picture:
    """A file that is as it should be.

    Attributes:
        name: what it is.
        suffix: of the file.
        content: its bytes.
        pixels: (C, H, W), which a reader has to give; None where it has to refuse the file.
        known: whether `pixels` is an answer at all; without, the file has only to be read or refused.
    """

    name: str
    suffix: str
    content: bytes
    pixels: Array | None
    known: bool = True


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def drawn(draw: random.Random) -> Picture:
    """A picture of random size, kind and content."""
    made: Picture = draw.choice((png, png, png, tiff, tiff, bmp, ppm))(draw)
    return made


def _values(draw: random.Random, shape: tuple[int, ...], top: int) -> Array:
    if draw.random() < 0.15:
        return np.full(shape, draw.choice((0, top)))
    return np.random.default_rng(draw.randrange(2**32)).integers(0, top + 1, shape)


def _size(draw: random.Random) -> tuple[int, int]:
    return draw.choice((1, 2, 3, 7, 8, 9, 16, 33)), draw.choice((1, 2, 5, 8, 17))


def png(draw: random.Random) -> Picture:
    """Of every kind and depth, interlaced or not, each row with a filter of its own, in several chunks."""
    kind = draw.choice(tuple(_KINDS))
    depth = draw.choice(_KINDS[kind])
    width, height = _size(draw)
    samples = _values(draw, (height, width, SAMPLES[kind]), 2**depth - 1)
    if kind in (4, 6) and draw.random() < 0.7:
        samples[..., -1] = 2**depth - 1
    colours = draw.choice((2**depth, max(1, 2**depth // 2))) if kind == 3 else 0
    palette = _values(draw, (colours, 3), 255)
    key = draw.random() < 0.15 and kind in (0, 2, 3)
    more = chunk(b"PLTE", palette.astype(np.uint8).tobytes()) if kind == 3 else b""
    transparent = None
    if key:
        transparent = samples[0, 0] if draw.random() < 0.5 else _values(draw, (SAMPLES[kind],), 2**depth - 1)
        alpha = (
            bytes(draw.choice((0, 255)) for _ in range(draw.randrange(1, colours + 1))) if colours else b""
        )
        more += chunk(b"tRNS", alpha if kind == 3 else transparent.astype(">u2").tobytes())
    interlaced = int(draw.random() < 0.3)
    stream = b"".join(_passes(samples, depth, interlaced, draw))
    parts = np.array_split(np.frombuffer(zlib.compress(stream), np.uint8), draw.choice((1, 1, 2, 5)))
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    pixels = b"".join(chunk(b"IDAT", part.tobytes()) for part in parts)
    content = SIGNATURE + chunk(b"IHDR", head) + more + pixels + chunk(b"IEND", b"")
    name = f"png {kind}/{depth}{' interlaced' * interlaced}{' key' * bool(key)}"
    if kind == 3 and key:
        seen = {alpha[index] for index in samples.ravel().tolist() if index < len(alpha)}
        answer = None if seen - {255} else _shown(samples, kind, depth, palette)
    elif transparent is not None and (samples == transparent).all(-1).any():
        answer = None
    else:
        answer = _shown(samples, kind, depth, palette)
    # Of samples below 8 bits and a key, Pillow compares what it has scaled: only that it is read is known.
    return Picture(name, ".png", content, answer, known=not (key and depth < 8 and kind != 3))


def _shown(samples: Array, kind: int, depth: int, palette: Array) -> Array | None:
    """Decode the samples of a PNG file, (C, H, W); None for files that must not be read."""
    if kind == 3:
        if int(samples.max()) >= len(palette):
            return None
        return palette[samples[..., 0]].transpose(2, 0, 1).astype(np.uint8)
    if depth == 16 and kind != 0:
        return None
    top = 2**depth - 1
    if kind in (4, 6):
        if (samples[..., -1] != top).any():
            return None
        samples = samples[..., :-1]
    scaled = samples * (255 // top) if depth < 8 else samples
    return scaled.transpose(2, 0, 1).astype(np.uint16 if depth == 16 else np.uint8)


def _passes(samples: Array, depth: int, interlaced: int, draw: random.Random) -> list[bytes]:
    rows = []
    for column, row, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        before = b""
        part = samples[row::down, column::across]
        if not part.size:
            continue
        for line in part:
            bits = np.unpackbits(line.astype(">u2").view(np.uint8).reshape(*line.shape, 2), axis=-1)
            packed = np.packbits(bits[..., 16 - depth :].ravel()).tobytes()
            size = max(1, depth * samples.shape[-1] // 8)
            rows.append(_filtered(packed, before or bytes(len(packed)), size, draw.randrange(5)))
            before = packed
    return rows


def _filtered(row: bytes, above: bytes, size: int, kind: int) -> bytes:
    """A row with the number of its filter, `size` bytes a pixel."""
    made = bytearray([kind])
    for at, value in enumerate(row):
        a, b, c = (row[at - size], above[at], above[at - size]) if at >= size else (0, above[at], 0)
        made.append((value - predicted(kind, a, b, c)) % 256)
    return bytes(made)


def predicted(kind: int, a: int, b: int, c: int) -> int:
    """The prediction of a PNG filter for a byte, from those to the left, above, and above to the left."""
    if kind == 4:
        left, up, corner = (abs(a + b - c - other) for other in (a, b, c))
        return a if left <= up and left <= corner else b if up <= corner else c
    return (0, a, b, (a + b) // 2)[kind]


def tiff(draw: random.Random) -> Picture:
    """Uncompressed or deflated, in strips, of either byte order: grey of 8 or 16 bits, colour, palette."""
    order = draw.choice("<>")
    width, height = _size(draw)
    what = draw.choice(("grey", "white is zero", "colour", "palette", "grey 16", "colour 16"))
    bits, channels = (16 if what.endswith("16") else 8), (3 if what.startswith("colour") else 1)
    samples = _values(draw, (height, width, channels), 2**bits - 1)
    rows, deflated = draw.randrange(1, height + 1), draw.random() < 0.4
    packed = samples.astype(f"{order}u{bits // 8}")
    strips = [packed[at : at + rows].tobytes() for at in range(0, height, rows)]
    if deflated:
        strips = [zlib.compress(strip) for strip in strips]
    lacking = len(strips) > 1 and draw.random() < 0.15
    strips = strips[:-1] if lacking else strips
    palette = _values(draw, (3, 256), 255)
    photometric = {"white is zero": 0, "colour": 2, "colour 16": 2, "palette": 3}.get(what, 1)
    entries: list[tuple[int, int, list[int]]] = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, [bits] * channels),
        (259, 3, [8 if deflated else 1]),
        (262, 3, [photometric]),
        (273, 4, []),
        (277, 3, [channels]),
        (278, 3, [rows]),
        (279, 4, [len(strip) for strip in strips]),
    ]
    if what == "palette":
        entries.append((320, 3, (palette * 257).ravel().tolist()))
    content = tiff_of(order, entries, strips)
    answer: Array | None
    if what == "colour 16" or lacking:
        answer = None
    elif what == "palette":
        answer = palette.T[samples[..., 0]].transpose(2, 0, 1).astype(np.uint8)
    else:
        shown = 255 - samples if what == "white is zero" else samples
        answer = shown.transpose(2, 0, 1).astype(np.uint16 if bits == 16 else np.uint8)
    return Picture(f"tiff {what}{' deflated' * deflated}{' lacking' * lacking}", ".tif", content, answer)


def tiff_of(order: str, entries: list[tuple[int, int, list[int]]], strips: list[bytes]) -> bytes:
    """A TIFF file of one folder; the entry 273 gets the strips' places."""
    sizes = {3: 2, 4: 4}
    begin = 8 + 2 + 12 * len(entries) + 4
    behind, body = b"", b""
    at = begin + sum(
        sizes[kind] * n
        for tag, kind, values in entries
        if sizes[kind] * (n := len(strips) if tag == 273 else len(values)) > 4
    )
    for tag, kind, values in entries:
        if tag == 273:
            values = [at + sum(map(len, strips[:number])) for number in range(len(strips))]
        packed = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
        body += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(packed) > 4:
            body += struct.pack(f"{order}I", begin + len(behind))
            behind += packed
        else:
            body += packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    return head + body + bytes(4) + behind + b"".join(strips)


def bmp(draw: random.Random) -> Picture:
    """Of 24 bits or of a palette, from below or from above."""
    width, height = _size(draw)
    upright, coloured = draw.random() < 0.5, draw.random() < 0.5
    samples = _values(draw, (height, width, 3 if coloured else 1), 255)
    palette = np.zeros((0, 4), int) if coloured else _values(draw, (256, 4), 255)
    rows = samples[..., ::-1] if coloured else samples
    lines = [line.astype(np.uint8).tobytes() for line in (rows if upright else rows[::-1])]
    data = b"".join(line + bytes(-len(line) % 4) for line in lines)
    begin = 54 + palette.size
    head = struct.pack("<2sIHHI", b"BM", begin + len(data), 0, 0, begin)
    tall, bits = (-height if upright else height), (24 if coloured else 8)
    head += struct.pack("<IiiHHIIiiII", 40, width, tall, 1, bits, 0, len(data), 0, 0, len(palette), 0)
    shown = samples if coloured else palette[samples[..., 0]][..., 2::-1]
    answer = shown.transpose(2, 0, 1).astype(np.uint8)
    content = head + palette.astype(np.uint8).tobytes() + data
    # Pillow gives grey for a palette of greys, and one of random colours is none but for one of a kind.
    return Picture(f"bmp {bits}", ".bmp", content, answer, known=coloured or len(np.unique(palette)) > 1)


def ppm(draw: random.Random) -> Picture:
    """Binary or plain, of 8 bits; of 16 bits it has to be refused."""
    width, height = _size(draw)
    top, coloured, plain = draw.choice((255, 255, 65535)), draw.random() < 0.5, draw.random() < 0.3
    samples = _values(draw, (height, width, 3 if coloured else 1), top)
    mark = (3 if coloured else 2) if plain else 6 if coloured else 5
    head = f"P{mark} # as it is\n{width} {height}\n{top}\n".encode()
    kind = np.dtype(">u2" if top > 255 else np.uint8)
    body = " ".join(map(str, samples.ravel())).encode() + b"\n" if plain else samples.astype(kind).tobytes()
    answer = None if top > 255 else samples.transpose(2, 0, 1).astype(np.uint8)
    return Picture(f"ppm {mark}/{top}", ".ppm" if coloured else ".pgm", head + body, answer)


def by_pillow() -> list[Picture]:
    """A small file of each other format and kind that is opened."""
    values = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    colour = Image.fromarray(values)
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a camera"
    forms: list[tuple[str, str, Image.Image, dict[str, Any]]] = [
        ("JPEG", ".jpg", colour, {}),
        ("JPEG", ".jpg", colour, {"progressive": True, "exif": exif}),
        ("JPEG", ".jpg", colour.convert("CMYK"), {}),
        ("JPEG", ".jpg", colour.convert("L"), {"icc_profile": bytes(300)}),
        ("MPO", ".mpo", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("GIF", ".gif", colour.quantize(30), {}),
        ("GIF", ".gif", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("WEBP", ".webp", colour, {}),
        ("WEBP", ".webp", colour, {"lossless": True, "exif": exif}),
        ("WEBP", ".webp", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("TIFF", ".tif", colour, {"compression": "tiff_lzw"}),
        ("TIFF", ".tif", colour, {"compression": "jpeg"}),
        ("TIFF", ".tif", colour, {"compression": "packbits", "exif": exif}),
        ("TIFF", ".tif", colour.convert("1"), {"compression": "group4"}),
        ("TIFF", ".tif", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("PNG", ".png", colour, {"exif": exif, "icc_profile": bytes(300)}),
        ("PNG", ".png", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("JPEG2000", ".jp2", colour, {}),
        ("JPEG2000", ".j2k", colour.convert("L"), {"no_jp2": True}),
        ("AVIF", ".avif", colour, {"speed": 10}),
        ("TGA", ".tga", colour, {"compression": "tga_rle"}),
        ("TGA", ".tga", colour.quantize(30), {}),
        ("PCX", ".pcx", colour, {}),
        ("PCX", ".pcx", colour.convert("1"), {}),
        ("DIB", ".dib", colour, {}),
    ]
    made = []
    for kind, suffix, image, options in forms:
        if kind not in Image.SAVE and kind not in Image.SAVE_ALL:
            Image.init()
        if kind not in Image.SAVE:
            continue  # as Pillow was built
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        made.append(Picture(f"pillow {kind.lower()}", suffix, stream.getvalue(), None, known=False))
    return made
