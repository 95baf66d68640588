"""Mutations behind the checksums, lengths and tables of image files."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from benchmarks.fuzzing.mutations import INTEGERS, Mutated, UntoldError, anyhow
from benchmarks.fuzzing.pictures import SIGNATURE, chunk

_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iCCP", b"zTXt")
_TAGS = (
    *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339),
    *(330, 347, 529, 530, 700, 33723, 34377, 34665, 34675, 34853, 65000),
)
_BOXES = (
    *(b"VP8X", b"VP8 ", b"VP8L", b"ANIM", b"ANMF", b"EXIF", b"RIFF", b"ihdr", b"jp2h", b"jp2c", b"colr"),
    *(b"meta", b"iloc", b"iprp", b"ispe", b"av1C", b"mdat", b"pixi", b"iinf", b"ftyp"),
)
_EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    b"(%pipe%touch started) (w) file\nshowpage\n"
)
_FOREIGN = (
    _EPS,
    b"\xc5\xd0\xd3\xc6" + struct.pack("<IIII", 30, len(_EPS), 0, 0) + bytes(10) + _EPS,
    b"%PDF-1.4\n1 0 obj\n<</Type/Catalog>>\nendobj\n",
    b"<?xml version='1.0'?><!DOCTYPE a SYSTEM '/etc/passwd'><svg xmlns='http://www.w3.org/2000/svg'/>",
    b"\xd7\xcd\xc6\x9a" + bytes(100),
    b"PK\x03\x04" + bytes(100),
    b"\x89HDF\r\n\x1a\n" + bytes(100),
    b"GRIB\0\0\0\1" + bytes(100),
    b"8BPS\0\1" + bytes(100),
    b"icns\0\0\0\x80" + bytes(100),
    bytes(128) + b"DICM",
    b"version https://git-lfs.github.com/spec/v1\n",
)
SUFFIXES = (".png", ".jpg", ".tif", ".bmp", ".gif", ".webp", ".ppm", ".tga", ".pcx", ".jp2", ".avif", ".PNG")


def edited(data: bytes, draw: random.Random) -> Mutated:
    """A mutation of what the file's own format counts and checks."""
    if data.startswith(SIGNATURE):
        return _png(data, draw)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(data, draw)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data, draw)
    if data.startswith((b"RIFF", b"\0\0\0\x0cjP", b"\0\0\0 ftyp", b"\0\0\0\x1cftyp")):
        return _boxes(data, draw)
    if data.startswith(b"P") and data[1:2].isdigit():
        return _ppm(data, draw)
    return _header(data, draw)


def foreign(draw: random.Random, data: bytes) -> Mutated:
    """Content of other kinds, PostScript's above all, alone, in front of a picture, or inside it."""
    other = draw.choice(_FOREIGN)
    what = draw.choice(("alone", "alone", "in front", "behind", "inside"))
    if what == "alone":
        return "foreign alone", other
    if what == "inside" and data.startswith(SIGNATURE):
        return "foreign inside", data[:33] + chunk(draw.choice((b"tEXt", b"eXIf")), b"a\0" + other) + data[
            33:
        ]
    at = {"in front": 0, "behind": len(data)}.get(what, draw.randrange(len(data)))
    return f"foreign {what}", data[:at] + other + data[at:]


def exif(draw: random.Random) -> Mutated:
    """A camera's tags of odd types and values in a good picture."""
    made = Image.Exif()
    made[274] = draw.choice((0, 1, 3, 6, 8, 9, 255, 65535))
    made[draw.choice((271, 306, 37500))] = draw.choice(("x" * 5000, "\x1b]0;x\x07::error::", 7))
    stream, kind = io.BytesIO(), draw.choice(("PNG", "JPEG", "WEBP", "TIFF"))
    Image.new(draw.choice(("RGB", "L")), (4, 3), 9).save(stream, kind, exif=made)
    content = bytearray(stream.getvalue())
    at = max(content.find(b"Exif"), content.find(b"eXIf"), 8)
    if draw.random() < 0.7:
        content[min(len(content) - 1, at + draw.randrange(40))] = draw.randrange(256)
    return f"exif {kind}", bytes(content)


def bomb(draw: random.Random) -> Mutated:
    """Much out of little: large sides, flat pixels, text and profiles that unpack to megabytes."""
    what = draw.choice(("flat", "sides", "text", "frames", "canvas", "folders", "runs", "tiles"))
    side = draw.choice((3000, 9000, 2**14, 2**16, 2**24, 2**31 - 1))
    if what == "flat":
        rows = b"".join([bytes(3001)] * draw.choice((1, 1500, 3000)))
        head = struct.pack(">IIBBBBB", 3000, 3000, 8, 0, 0, 0, 0)
        content = SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    elif what == "sides":
        wide, tall = draw.choice(((side, 1), (1, side), (side, side), (80_000_000, 1)))
        depth, kind = draw.choice(((8, 2), (1, 0), (16, 6), (8, 3)))
        head = struct.pack(">IIBBBBB", wide, tall, depth, kind, 0, 0, draw.randrange(2))
        content = (
            SIGNATURE + chunk(b"IHDR", head) + chunk(b"PLTE", bytes(6)) + chunk(b"IDAT", zlib.compress(b"\0"))
        )
    elif what == "text":
        packed = zlib.compress(bytes(draw.choice((10**6, 2 * 10**7))))
        name = draw.choice((b"zTXt", b"iTXt", b"iCCP"))
        body = b"a\0\1\0\0\0" + packed if name == b"iTXt" else b"a\0\0" + packed
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0))
        pixels = chunk(b"IDAT", zlib.compress(bytes(15)))
        content = SIGNATURE + head + chunk(name, body) * draw.choice((1, 5)) + pixels + chunk(b"IEND", b"")
    elif what == "frames":
        frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
        canvas = struct.pack("<HH", min(side, 65535), 1)
        content = b"GIF89a" + canvas + b"\x80\0\0" + bytes(6) + frame * draw.choice((1, 2, 20_000)) + b";"
    elif what == "canvas":
        size = struct.pack("<I", (side - 1) % 2**24)[:3]
        body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size + size
        body += b"ANIM" + struct.pack("<IIH", 6, 0, draw.choice((0, 65535))) + b"ANMF" + struct.pack("<I", 16)
        content = b"RIFF" + struct.pack("<I", len(body) + 16) + body + bytes(16)
    elif what == "folders":
        content = _chained(draw.choice((2, 1000, 30_000)), draw.random() < 0.2)
    elif what == "runs":
        size = struct.pack("<ii", *draw.choice(((80_000_000, 1), (8000, 8000), (1, 80_000_000))))
        runs = draw.choice((b"\0\2\xff\xff\0\1", b"\xff\7" * 2000, b"\1\7\0\0" * 2000))
        head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 1078) + struct.pack("<I", 40) + size
        content = head + struct.pack("<HHIIiiII", 1, 8, 1, len(runs), 0, 0, 256, 0) + bytes(1024) + runs
    else:
        stream = io.BytesIO()
        Image.new("L", (16, 16)).save(stream, "JPEG2000")
        content = stream.getvalue()
        at = content.find(b"\xff\x4f\xff\x51") + 8 + 4 * draw.choice((0, 1, 4, 5))
        content = content[:at] + struct.pack(">I", draw.choice((1, side, 2**32 - 1))) + content[at + 4 :]
    return f"bomb {what}", content


def _chained(count: int, endless: bool) -> bytes:
    """A TIFF file of so many folders, the last of which may lead to the first."""
    tags = ((256, 4), (257, 3), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 3), (279, 12))
    body = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags
    )
    length = len(body) + 4
    parts = [body + struct.pack("<I", 8 + at * length) for at in range(1, count)]
    return b"II*\0\x08\0\0\0" + b"".join(parts) + body + struct.pack("<I", 8 if endless else 0)


def _png(data: bytes, draw: random.Random) -> Mutated:
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    what = draw.choice(("header", "header", "size", "rows", "stream", "order", "kind", "more", "length"))
    place = draw.randrange(len(chunks))
    if what in ("header", "size"):
        head = bytearray(chunks[0][1])
        if what == "size":
            side = struct.pack(">I", draw.choice((0, 1, 4, 40, 5000, *INTEGERS)) % 2**32)
            head[(at := draw.choice((0, 4))) : at + 4] = side
        else:
            head[draw.randrange(8, 13)] = draw.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[0] = chunks[0][0], bytes(head)
    elif what in ("rows", "stream"):
        packed = b"".join(body for name, body in chunks if name == b"IDAT")
        chunks = [one for one in chunks if one[0] != b"IDAT"]
        if what == "rows":
            rows = zlib.decompress(packed)
            packed = zlib.compress(
                draw.choice((rows[: draw.randrange(len(rows))], rows * 2, b"\5" + rows[1:]))
            )
        else:
            packed = anyhow(packed, draw, data)[1]
        chunks.insert(-1, (b"IDAT", packed))
    elif what == "order":
        draw.shuffle(chunks)
    elif what == "kind":
        chunks[place] = draw.choice(_CHUNKS), chunks[place][1]
    elif what == "more":
        body = draw.choice((b"", chunks[place][1], struct.pack(">II", draw.choice((0, 1, 2, 2**32 - 1)), 0)))
        chunks.insert(place, (draw.choice(_CHUNKS), body))
    else:
        made = bytearray(data)
        made[8:12] = struct.pack(">I", draw.choice(INTEGERS) % 2**32)
        return "png length", bytes(made)
    return f"png {what}", SIGNATURE + b"".join(chunk(name, body) for name, body in chunks)


def _tiff(data: bytes, draw: random.Random) -> Mutated:
    order, made = "<" if data[:2] == b"II" else ">", bytearray(data)
    folder = struct.unpack(f"{order}I", data[4:8])[0]
    if folder + 2 > len(data):
        raise UntoldError("no folder")
    count = struct.unpack(f"{order}H", data[folder : folder + 2])[0]
    entry = folder + 2 + 12 * draw.randrange(max(1, count))
    what = draw.choice(("tag", "type", "count", "value", "value", "value", "next", "entries"))
    number = draw.choice((1, 2, 3, 8, 16, 32, 4, 6, 7, 5, 32773, 34712, *INTEGERS))
    if what == "tag":
        made[entry : entry + 2] = struct.pack(f"{order}H", draw.choice(_TAGS))
    elif what == "type":
        made[entry + 2 : entry + 4] = struct.pack(f"{order}H", draw.randrange(19))
    elif what == "count":
        made[entry + 4 : entry + 8] = struct.pack(f"{order}I", number % 2**32)
    elif what == "value":
        kind = draw.choice(f"{order}I {order}H".split())
        packed = struct.pack(kind, number % (2**32 if kind.endswith("I") else 2**16))
        made[entry + 8 : entry + 8 + len(packed)] = packed
    elif what == "next":
        at = folder + 2 + 12 * count
        made[at : at + 4] = struct.pack(f"{order}I", draw.choice((folder, at, number)) % 2**32)
    else:
        made[folder : folder + 2] = struct.pack(f"{order}H", draw.choice((0, 1, count + 1, 65535)))
    return f"tiff {what}", bytes(made)


def _jpeg(data: bytes, draw: random.Random) -> Mutated:
    places, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        places.append(at)
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    if not places:
        raise UntoldError("no segment")
    made, at = bytearray(data), draw.choice(places)
    size = struct.unpack(">H", data[at + 2 : at + 4])[0]
    what = draw.choice(("length", "marker", "values", "twice", "size"))
    if what == "length":
        made[at + 2 : at + 4] = struct.pack(">H", draw.choice((0, 1, 2, size - 1, size + 1, 65535)))
    elif what == "marker":
        made[at + 1] = draw.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xD8, 0xD9, 0xDB, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE))
    elif what == "values":
        made[at + 4 + draw.randrange(max(1, size - 2))] = draw.randrange(256)
    elif what == "twice":
        made[at:at] = data[at : at + 2 + size] * draw.choice((1, 300))
    else:
        frames = [place for place in places if data[place + 1] in (0xC0, 0xC2)]
        at = frames[0] if frames else at
        made[at + 5 : at + 9] = struct.pack(">HH", *draw.choices((0, 1, 12, 16, 5000, 65535), k=2))
    return f"jpeg {what}", bytes(made)


def _boxes(data: bytes, draw: random.Random) -> Mutated:
    """A length, a name or bytes of a box of RIFF, JPEG 2000 or AVIF."""
    present = [name for name in _BOXES if name in data]
    if not present:
        raise UntoldError("no box")
    made, name = bytearray(data), draw.choice(present)
    at = data.find(name)
    what = draw.choice(("length", "name", "values", "values"))
    riff = data.startswith(b"RIFF")
    number = struct.pack("<I" if riff else ">I", draw.choice((0, 1, 7, 8, *INTEGERS)) % 2**32)
    if what == "length":
        place = at + 4 if riff else max(0, at - 4)
        made[place : place + 4] = number
    elif what == "name":
        made[at : at + 4] = draw.choice(present)
    else:
        place = at + 4 + draw.randrange(24)
        if draw.random() < 0.5:
            made[place : place + 4] = number
        else:
            made[min(place, len(made) - 1)] = draw.randrange(256)
    return f"box {what}", bytes(made)


def _ppm(data: bytes, draw: random.Random) -> Mutated:
    words = data.split(maxsplit=8)
    numbers = [at for at, word in enumerate(words[:-1]) if word.isdigit()]
    if not numbers:
        raise UntoldError("no number")
    words[draw.choice(numbers)] = draw.choice((b"0", b"-1", b"1", b"254", b"9" * 30, b"#", b"65536", b"1e3"))
    return "ppm number", b"\n".join(words)


def _header(data: bytes, draw: random.Random) -> Mutated:
    """Numbers in the first bytes, where BMP, GIF, TGA and PCX have their sizes and kinds."""
    made, at = bytearray(data), draw.randrange(min(64, len(data) - 4))
    size = draw.choice((1, 2, 4))
    made[at : at + size] = (draw.choice(INTEGERS) % 2 ** (8 * size)).to_bytes(size, "little")
    return "header number", bytes(made)


def noise(draw: random.Random) -> Mutated:
    """No picture at all."""
    return "noise", np.random.default_rng(draw.randrange(2**32)).bytes(draw.choice((0, 1, 20, 3000)))
