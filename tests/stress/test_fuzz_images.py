"""Image files, written and mutated: the exact pixels or one line, in proportion, and no other program.

`HARDEN_FUZZ_IMAGES=20000 pytest tests/stress/test_fuzz_images.py` runs more cases in this process;
`python -m benchmarks.stress_fuzz --formats image` runs them in watched ones.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzzing import images, pictures
from benchmarks.fuzzing.images import Images, decoded
from benchmarks.fuzzing.mutations import UntoldError
from benchmarks.fuzzing.oracle import DefectError

CASES = int(os.environ.get("HARDEN_FUZZ_IMAGES", "400"))


def test_every_image_file_is_read_right_or_refused_in_one_line(tmp_path: Path) -> None:
    """Always the same cases; every format is met, read and refused."""
    fuzzed, counts, defects = Images(tmp_path), Counter[str](), []
    for number in range(CASES):
        try:
            _, outcome = fuzzed.run(random.Random(f"images/{number}"))
            counts[outcome] += 1
            counts[fuzzed.file.suffix.lower()] += 1
        except UntoldError:
            continue
        except Exception as error:
            defects.append(f"case {number}: {type(error).__name__}: {error}")
    assert defects == []
    assert min(counts[outcome] for outcome in ("same", "variant", "refused")) > CASES // 20
    assert {".png", ".jpg", ".tif", ".bmp", ".gif", ".webp", ".jp2", ".avif", ".tga", ".pcx"} <= set(counts)


def test_the_decoder_that_images_are_held_to_agrees_with_what_was_written() -> None:
    draw, met = random.Random(0), 0
    for _ in range(300):
        picture = pictures.png(draw)
        if picture.pixels is not None and picture.known:
            assert np.array_equal(decoded(picture.content), picture.pixels), picture.name
            met += 1
    assert met > 100


def start() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (start, "subprocess.Popen"),
        (lambda: Path("written").write_bytes(b"x"), "opened to be written"),
        (lambda: (_ for _ in ()).throw(OSError("two\nlines")), "OSError"),
    ],
    ids=["a program", "a file", "another exception"],
)
def test_what_must_not_happen_is_noticed(
    fault: Callable[[], object],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzzed, whole = Images(tmp_path), images.read_header

    def faulty(file: Path, seen: Counter[str]) -> object:
        fault()
        return whole(file, seen)

    monkeypatch.setattr(images, "read_header", faulty)
    with pytest.raises((DefectError, OSError)) as caught:
        run(fuzzed, 20)
    assert says in f"{type(caught.value).__name__}: {caught.value}"


def test_other_pixels_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzed, read = Images(tmp_path), images.read_pixels
    monkeypatch.setattr(images, "read_pixels", lambda file, seen: read(file, seen) // 2)
    with pytest.raises(DefectError, match="other pixels than the file holds"):
        run(fuzzed, 100)


def test_memory_out_of_proportion_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzed = Images(tmp_path)
    held = images._peak() + images.MEMORY + 1
    monkeypatch.setattr(images, "_peak", lambda: held)
    with pytest.raises(DefectError, match=r"MB for [\d,]+ bytes"):
        fuzzed.run(random.Random(0))
    fuzzed.run(random.Random(0))  # said once


def run(fuzzed: Images, n: int) -> None:
    for number in range(n):
        fuzzed.run(random.Random(number))


def test_every_format_that_is_opened_is_written() -> None:
    from harden.data.formats.image_files import image_suffixes

    kinds = set(image_suffixes().values()) & {kind for kind in Image.SAVE if kind in Image.OPEN}
    written = {image_suffixes().get(picture.suffix, "") for picture in pictures.by_pillow()}
    assert kinds - written <= {"PNG", "TIFF", "BMP", "PPM", "PFM"}
