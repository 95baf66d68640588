"""Image files, as they are written and mutated, and what harden's reader of folders makes of them.

Oracles: of a file that is as it should be the exact pixels, or a refusal where there are none; of a mutated
PNG file that is read the pixels that a decoder of a few lines finds (no filter, chunk or row is left out), of
every other the size and type that its header says, and the same pixels again. No other program is started and
no file is written while an image is read, and it takes no more than MEMORY.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fuzzing import oracle
from benchmarks.fuzzing.mutations import Mutated, UntoldError, anyhow
from benchmarks.fuzzing.oracle import DefectError
from benchmarks.fuzzing.picture_edits import SUFFIXES, bomb, edited, exif, foreign, noise
from benchmarks.fuzzing.pictures import (
    PASSES,
    SAMPLES,
    SIGNATURE,
    Array,
    Picture,
    by_pillow,
    drawn,
    predicted,
)
from harden.data.formats.image_files import read_header as read_header
from harden.data.formats.image_files import read_pixels as read_pixels
from harden.data.formats.image_folder import load_folder
from harden.errors import InputError

_STARTS: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")
_STARTS_TOO: Final = ("os.forkpty", "socket.connect", "pty.spawn", "os.startfile")
_WRITES: Final = os.O_WRONLY | os.O_RDWR
MEMORY: Final = 2**29
"""What one file of the fuzzer's may take in bytes that are touched: an address space alone costs nothing."""

_seen: list[str] = []
_watched: list[bool] = []


class Images:
    """Image files of one folder, which is written anew for each.

    Args:
        place: an empty folder.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.single = place / "images", place / "single"
        self.single.mkdir(parents=True)
        self.file = self.single / "none.png"
        self.others = by_pillow()
        self._before = _peak()
        _hook()

    def run(self, draw: random.Random) -> tuple[str, str]:
        """Write one file, have it read, and say what was done to it and what came of it.

        Raises:
            DefectError: it was neither refused in one line nor read right.
        """
        found = self._run(draw)
        before, self._before = self._before, max(self._before, _peak())
        if self._before - before > MEMORY:
            raise DefectError(f"{(self._before - before) >> 20} MB for {self.file.stat().st_size:,} bytes")
        return found

    def _run(self, draw: random.Random) -> tuple[str, str]:
        picture = draw.choice(self.others) if draw.random() < 0.5 else drawn(draw)
        if draw.random() < 0.2:
            return picture.name, self._whole(picture)
        name, made = self._mutated(picture, draw)
        suffix = draw.choice(SUFFIXES) if draw.random() < 0.15 else picture.suffix
        self._write(suffix, made)
        outcome = self._read(made)
        if draw.random() < 0.3 and outcome != "refused":
            self._folder()
        return name, outcome

    def lay(self) -> None:
        """Write the last file into a data set, of itself alone."""
        shutil.rmtree(self.place, ignore_errors=True)
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (self.place / part / name).mkdir(parents=True)
                shutil.copy(self.file, self.place / part / name / self.file.name)

    def _write(self, suffix: str, content: bytes) -> None:
        for old in self.single.iterdir():
            old.unlink()
        self.file = self.single / f"image{suffix}"
        self.file.write_bytes(content)

    def _mutated(self, picture: Picture, draw: random.Random) -> Mutated:
        what = draw.choices(("edit", "any", "foreign", "exif", "bomb", "noise"), (50, 25, 8, 6, 8, 3))[0]
        data = picture.content
        if what == "edit":
            name, made = edited(data, draw)
        elif what == "any":
            name, made = anyhow(data, draw, draw.choice(self.others).content)
        elif what == "foreign":
            name, made = foreign(draw, data)
        else:
            name, made = {"exif": exif, "bomb": bomb, "noise": noise}[what](draw)
        if made == data:
            raise UntoldError("no change")
        return name, made

    def _whole(self, picture: Picture) -> str:
        self._write(picture.suffix, picture.content)
        found = _pixels(self.file)
        if not picture.known:
            return "refused" if found is None else "variant"
        if (found is None) != (picture.pixels is None):
            raise DefectError(f"a whole file, {picture.name}, was {'refused' if found is None else 'read'}")
        if found is not None and picture.pixels is not None:
            _same(found, picture.pixels, picture.name)
        return "refused" if found is None else "same"

    def _read(self, made: bytes) -> str:
        found = _pixels(self.file)
        if found is None:
            return "refused"
        again = _pixels(self.file)
        if again is None or not np.array_equal(found, again):
            raise DefectError("other pixels when it is read again")
        if made.startswith(SIGNATURE):
            _same(found, decoded(made), "mutated png")
        return "variant"

    def _folder(self) -> None:
        self.lay()
        try:
            with _watching():
                splits = load_folder(str(self.place))
        except InputError as error:
            raise DefectError(f"read alone and refused in a folder: {error}") from error
        oracle.splits(splits, splits)


def _peak() -> int:
    """The most bytes that this process has held in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _pixels(file: Path) -> Array | None:
    """Return the content of a file as harden reads it; None where it is refused."""
    seen: Counter[str] = Counter()
    try:
        with _watching():
            header = read_header(file, seen)
            found = read_pixels(file, seen)
    except InputError as error:
        if "\n" in str(error) or not (error.seen and error.expected and error.instead):
            raise DefectError(f"no refusal in one line and three parts: {str(error)[:200]!r}") from error
        return None
    if found.shape != (header.channels, header.height, header.width) or found.dtype != header.dtype:
        raise DefectError(f"{found.dtype} {found.shape} where the header says {header}")
    if found.dtype not in (np.uint8, np.uint16) or not all(what.isprintable() for what in seen):
        raise DefectError(f"pixels of {found.dtype}, remarks {dict(seen)}")
    return found


def _same(found: Array, expected: Array, name: str) -> None:
    if found.dtype != expected.dtype or not np.array_equal(found, expected):
        raise DefectError(f"other pixels than the file holds, {name}: {found.dtype} {found.shape}")


@contextmanager
def _watching() -> Iterator[None]:
    """No other program, no connection, no file written; what C libraries print goes nowhere."""
    _seen.clear()
    _watched.append(True)
    quiet, kept = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(quiet, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(quiet)
        os.close(kept)
        _watched.pop()
    if _seen:
        raise DefectError(f"while an image was read: {_seen[:3]}")


def _hook() -> None:
    """Install the one audit hook of a process, which can't be removed and acts while files are watched."""
    if "hooked" not in _state:
        _state["hooked"] = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    # An exception here would be taken for one of the decoder's.
    if event in _STARTS or event in _STARTS_TOO:
        _seen.append(f"{event} {str(arguments)[:100]}")
    elif event == "open" and arguments[0] != os.devnull and int(arguments[2] or 0) & _WRITES:
        _seen.append(f"{arguments[0]!r} opened to be written")


_state: dict[str, bool] = {}


def decoded(data: bytes) -> Array:
    """The pixels of a PNG file that was read, from its chunks: (C, H, W).

    Raises:
        DefectError: it holds no such picture, and was read all the same.
    """
    head, palette, stream = b"", b"", b""
    for name, body in _chunks(data):
        if name == b"IHDR" and not stream:
            head = body
        elif name == b"PLTE" and not stream:
            palette = body
        elif name == b"IDAT":
            stream += body
    try:
        width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", head[:13])
        samples = np.zeros((height, width, SAMPLES[kind]), np.uint32)
        needed = height * (8 + (samples[0].size * depth + 7) // 8) * (2 if interlaced else 1)
        rows = _inflated(stream, needed)
        at = 0
        for column, row, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
            part = samples[row::down, column::across]
            if part.size:
                at += _fill(part, rows[at:], depth)
    except (struct.error, zlib.error, KeyError, IndexError, ValueError) as error:
        raise DefectError(
            f"a PNG file was read that holds no picture ({type(error).__name__}: {error})"
        ) from None
    if kind == 3:
        colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
        if int(samples.max()) >= len(colours):
            raise DefectError("a PNG file was read with a colour that its palette lacks")
        return colours[samples[..., 0]].transpose(2, 0, 1)
    shown = samples[..., :-1] if kind in (4, 6) else samples
    scaled = shown * (255 // (2**depth - 1)) if depth < 8 else shown
    return scaled.transpose(2, 0, 1).astype(np.uint16 if depth == 16 else np.uint8)


def _inflated(stream: bytes, needed: int) -> bytes:
    """Return at least `needed` bytes; later ones may be damaged, and are not decoded."""
    inflate, rows, at = zlib.decompressobj(), bytearray(), 0
    # Byte by byte, for what is decoded in a call before an error, as of a checksum behind the rows, is lost.
    piece = 1 if needed < 2**16 else 2**16
    while at < len(stream) and len(rows) < needed and not inflate.eof:
        try:
            rows += inflate.decompress(stream[at : at + piece], needed + 2**16)
        except zlib.error:
            break
        at += piece
    return bytes(rows)


def _fill(part: Array, rows: bytes, depth: int) -> int:
    """Undo a pass's filters; how many bytes it took."""
    tall, wide, channels = map(int, part.shape)
    length, size = (wide * channels * depth + 7) // 8, max(1, depth * channels // 8)
    if len(rows) < tall * (1 + length):
        raise ValueError("rows are missing")
    above = np.zeros(length, np.uint8)
    for y in range(tall):
        kind, packed = rows[y * (1 + length)], rows[y * (1 + length) + 1 : (y + 1) * (1 + length)]
        line = np.frombuffer(packed, np.uint8).copy()
        if kind == 2:
            line += above
        elif kind:
            if kind > 4:
                raise ValueError(f"a filter {kind}")
            before, made = above.tolist(), line.tolist()
            for at, value in enumerate(made):
                a, c = (made[at - size], before[at - size]) if at >= size else (0, 0)
                made[at] = (value + predicted(kind, a, before[at], c)) % 256
            line = np.array(made, np.uint8)
        above = line
        bits = np.unpackbits(line)[: wide * channels * depth].reshape(wide, channels, depth)
        part[y] = bits @ (1 << np.arange(depth - 1, -1, -1, dtype=np.uint32))
    return tall * (1 + length)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size
