"""Mutations behind the checksums and lengths of npz and safetensors files."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zipfile
from typing import Any

import numpy as np

from benchmarks.fuzzing.mutations import INTEGERS, Mutated, UntoldError, anyhow
from benchmarks.fuzzing.texts import json_edit


def npz_members(data: bytes, draw: random.Random) -> Mutated:
    """A mutation behind zip's checksums: of an array's header, its values, or of which members there are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = draw.randrange(len(members))
    name, content = members[at]
    what = draw.choice(
        ("header", "header", "values", "values", "shape", "bomb", "pickle", "names", "raw", "file")
    )
    if what in ("header", "shape"):
        members[at] = name, _header(content, draw, shape_only=what == "shape")
    elif what == "values":
        out = bytearray(content)
        for _ in range(draw.choice((1, 1, 8))):
            out[draw.randrange(min(128, len(out) - 1), len(out))] = draw.randrange(256)
        members[at] = name, bytes(out)
    elif what == "bomb":
        size = draw.choice((2**20, 2**24))
        members[at] = name, content[:128] + bytes(size)
    elif what == "pickle":
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        members[at] = name, _npy(header) + pickle.dumps([{"a": 1}])
    elif what == "names":
        odd = draw.choice(
            ("", "../x.npy", name, name.upper(), "a/" + name, "x_train", "index.npy", "\u202e.npy")
        )
        members = draw.choice(
            (members[:at] + members[at + 1 :], [*members, (odd, content)], [*members, members[at]])
        )
    else:
        members[at] = name, anyhow(content, draw, data)[1]
    return f"npz {what}", _zipped(members, draw)


def _npy(header: bytes, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header) + 1) + header + b"\n"


def _header(content: bytes, draw: random.Random, shape_only: bool) -> bytes:
    length = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + length], content[10 + length :]
    number = draw.choice(INTEGERS)
    shapes = (
        f"({number},)",
        f"({number}, {number})",
        "()",
        "(0,)",
        "(-1,)",
        "(True,)",
        "(1.5,)",
        "[3]",
        "None",
    )
    if shape_only or draw.random() < 0.4:
        header = re.sub(rb"\([^)]*\)", draw.choice(shapes).encode(), header)
    elif draw.random() < 0.4:
        kinds = (
            "|O",
            ">f4",
            "<f8",
            "<f2",
            "|V4",
            "<M8[s]",
            "<c8",
            "|b1",
            "<i8",
            "|S0",
            "<U9",
            "(9,9)<f4",
            "x",
        )
        kind = draw.choice((*kinds, f"|S{number}", f"|V{number}", f"<U{number}", f"({number},)<f4"))
        header = re.sub(rb"'descr': '[^']*'", f"'descr': '{kind}'".encode(), header)
    elif draw.random() < 0.5:
        header = header.replace(b"False", draw.choice((b"True", b"None", b"0", b"[]")))
    else:
        odd = (
            b"",
            b"{}",
            b"(" * 5000,
            b"[" * 90 + b"]" * 90,
            b"{'a'",
            b"\xff" * 20,
            b"1" * 9000,
            b"-" * 5000 + b"1",
        )
        header = draw.choice(odd)
    version = draw.choice((b"\x01\x00",) * 8 + (b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    return _npy(header, version) + body


def _zipped(members: list[tuple[str, bytes]], draw: random.Random) -> bytes:
    stream = io.BytesIO()
    kinds = (
        zipfile.ZIP_STORED,
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_BZIP2,
        zipfile.ZIP_LZMA,
    )
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            archive.writestr(
                info, content, draw.choice(kinds) if draw.random() < 0.2 else zipfile.ZIP_DEFLATED
            )
    return stream.getvalue()


def witness_edit(data: bytes, draw: random.Random) -> Mutated:
    """A well-formed evidence.npz with other values: pixels, labels and indices moved, rows out of order."""
    with np.load(io.BytesIO(data)) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    name = draw.choice(list(arrays))
    array = arrays[name]
    what = draw.choice(("one", "one", "one", "reverse", "zero", "cast", "copy", "cut", "nan"))
    if what == "one":
        place = draw.randrange(array.size)
        array.flat[place] = array.flat[place] + draw.choice((-1, 1, 0.25, 1e-7, -1e-7, 1e-3, 2.0**40))
    elif what == "reverse":
        arrays[name] = array[::-1]
    elif what == "zero":
        arrays[name] = array * 0
    elif what == "cast":
        arrays[name] = array.astype(draw.choice(("float64", "int32", "float16", ">f4", ">i8", "uint8")))
    elif what == "copy":
        arrays["witness"] = arrays["original"]
    elif what == "cut":
        arrays = {key: value[1:] for key, value in arrays.items()}
    elif array.dtype.kind == "f":
        array.flat[draw.randrange(array.size)] = draw.choice((np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38))
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return f"evidence {what}", stream.getvalue()


def safetensors_header(data: bytes, draw: random.Random) -> Mutated:
    """A mutation of a safetensors header, whose length is made to fit unless that is what changes."""
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    tensors = [name for name in header if name != "__metadata__"]
    name, number = draw.choice(tensors), draw.choice(INTEGERS)
    entry = header[name]
    what = draw.choice(("length", "offsets", "shape", "dtype", "overlap", "name", "json", "values", "body"))
    if what == "length":
        text = json.dumps(header).encode()
        return "safetensors length", struct.pack("<Q", number % 2**64) + text + body
    if what == "offsets":
        entry["data_offsets"][draw.randrange(2)] = draw.choice((number, number % 97))
    elif what == "shape":
        entry["shape"] = draw.choice(([number], [number, number], [], [0], [-1], entry["shape"][::-1], "x"))
    elif what == "dtype":
        kinds = (
            "F16",
            "BF16",
            "F64",
            "I32",
            "U32",
            "BOOL",
            "F8_E4M3",
            "F8_E5M2",
            "F8_E8M0",
            "F4",
            "C64",
            "X",
        )
        entry["dtype"] = draw.choice(kinds)
    elif what == "overlap":
        entry["data_offsets"] = header[draw.choice(tensors)]["data_offsets"]
    elif what == "name":
        header[draw.choice(("", "x" * 10_000, "../x", "__metadata__", name + "2"))] = header.pop(name)
    elif what == "json":
        what, header = json_edit(header, draw)
    elif what == "values":
        at, to = entry["data_offsets"]
        new = draw.choice((struct.pack("<f", float("nan")), struct.pack("<f", 1e30), draw.randbytes(4)))
        body = body[:at] + new + body[at + 4 : to] + body[to:]
    else:
        body = draw.choice((body[:-1], body + b"x", b""))
    try:
        text = json.dumps(header).encode()
    except RecursionError:
        raise UntoldError("deeper than json can write") from None
    return f"safetensors {what}", struct.pack("<Q", len(text)) + text + body
