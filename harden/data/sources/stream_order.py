"""Detection of a stream whose images come in another order than in its first pass."""

from __future__ import annotations

import logging
from typing import final

import numpy as np
import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import rows, to_unit
from harden.data.splits.duplicates import image_keys

_log = logging.getLogger("harden")

SAMPLED = 256
"""Largest number of images of the first pass whose keys are kept."""

PIXELS = 32
"""Pixels that are compared first: an image that differs there from every known one needs no key."""

SHARE = 8
"""Of the known images that left their places, one in this number has to be found elsewhere for another order.

Where all images moved, all are found; where they are also mirrored at random, half. Under random transforms
alone an image is found elsewhere only where it has a copy.
"""

ENOUGH = 8
"""Images found elsewhere that suffice in the middle of a pass; fewer are judged at its end."""


@final
class FirstPassSample:
    """Keys of at most `SAMPLED` images of a first pass, at equal distances over all of it.

    Memory does not grow with the stream: the distance doubles whenever there are too many keys.
    """

    def __init__(self) -> None:
        self._seen, self._distance = 0, 1
        self._known: dict[int, tuple[bytes, bytes]] = {}
        self._warned = False

    def add(self, x: Tensor) -> None:
        """Add the next images (B, C, H, W) of the first pass."""
        due = self._due(len(x))
        while len(self._known) + len(due) > SAMPLED:
            self._distance *= 2
            self._known = {k: known for k, known in self._known.items() if k % self._distance == 0}
            due = self._due(len(x))
        if due:
            chosen = rows(x, torch.tensor([k - self._seen for k in due], device=x.device))
            self._known.update(zip(due, zip(_keys(chosen), _marks(chosen), strict=True), strict=True))
        self._seen += len(x)

    def order_check(self) -> OrderCheck:
        """Return the check of one later pass."""
        return OrderCheck(
            {k: key for k, (key, _) in self._known.items()}, {m for _, m in self._known.values()}
        )

    def warn_of_transforms(self, differ: int, name: str) -> None:
        """Log a warning, once for a stream, where images differ from the first pass and were not found."""
        if differ and not self._warned:
            self._warned = True
            _log.warning(
                "%s: %d of %d compared images differ from the first pass, as under random transforms:"
                " their order can't be checked",
                name,
                differ,
                len(self._known),
            )

    def _due(self, count: int) -> range:
        first = -(-self._seen // self._distance) * self._distance
        return range(first, self._seen + count, self._distance)


@final
class OrderCheck:
    """Comparison of one pass with the first: known images that left their places or were found elsewhere."""

    def __init__(self, keys: dict[int, bytes], marks: set[bytes]) -> None:
        self._keys, self._marks = keys, marks
        self._known = set(keys.values())
        self._expected = set(keys.items())
        self._seen = 0
        self._kept: set[int] = set()
        self._left: set[bytes] = set()
        self._elsewhere: set[bytes] = set()

    def add(self, x: Tensor) -> None:
        """Compare the next images (B, C, H, W) of the pass."""
        candidates = [k for k, mark in enumerate(_marks(x)) if mark in self._marks]
        if candidates:
            keys = _keys(rows(x, torch.tensor(candidates, device=x.device)))
            for k, key in zip(candidates, keys, strict=True):
                self._compare(self._seen + k, key)
        end = self._seen + len(x)
        self._left.update(
            self._keys[k] for k in range(self._seen, end) if k in self._keys and k not in self._kept
        )
        self._seen = end

    def _compare(self, position: int, key: bytes) -> None:
        if (position, key) in self._expected:
            self._kept.add(position)
        elif key in self._known:
            self._elsewhere.add(key)

    def moved(self, at_the_end: bool) -> str | None:
        """Describe the known images in other places; None while too few were found elsewhere."""
        found = len(self._left & self._elsewhere)
        if found < (1 if at_the_end else ENOUGH) or found * SHARE < len(self._left):
            return None
        return f"images in other places ({found} of {len(self._left)} that left theirs were found elsewhere)"

    @property
    def differ(self) -> int:
        """Number of places read so far that hold another image than the known one."""
        return sum(k < self._seen for k in self._keys) - len(self._kept)


def _keys(x: Tensor) -> list[bytes]:
    nothing = torch.empty(0, dtype=torch.int64)
    return [key.tobytes() for key in image_keys([Batch(to_unit(x), nothing, nothing)])]


def _marks(x: Tensor) -> list[bytes]:
    """Return the shape and the values at some pixels of each image, equal for equal images."""
    flat = x.flatten(1)
    chosen = torch.linspace(0, flat.shape[1] - 1, min(PIXELS, flat.shape[1])).long().to(x.device)
    if x.dtype == torch.uint16:
        some = flat.view(torch.int16)[:, chosen].view(torch.uint16)
    else:
        some = flat[:, chosen]
    shape = np.array(x.shape[1:], dtype="<i8").tobytes()
    # -0.0 equals 0.0 and has other bytes; adding 0.0 makes them equal.
    values = to_unit(some).detach().cpu().numpy() + np.float32(0)
    return [shape + row.tobytes() for row in values]
