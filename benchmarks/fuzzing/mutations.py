"""Mutations independent of a format, and the numbers that all mutations write in the place of integers."""

from __future__ import annotations

import random

INTEGERS = (
    0,
    -1,
    1,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
)

Mutated = tuple[str, bytes]


class UntoldError(Exception):
    """The mutation makes nothing that can be written down, or nothing new; the case is drawn again."""


def anyhow(data: bytes, draw: random.Random, other: bytes) -> Mutated:
    """A mutation that knows nothing of the format; `other` is a second seed to splice with."""
    out, n = bytearray(data), len(data)
    name = draw.choice(("flip", "set", "cut", "insert", "repeat", "delete", "splice", "integer", "many"))
    at, to = sorted((draw.randrange(n), draw.randrange(n)))
    if name == "flip":
        out[at] ^= 1 << draw.randrange(8)
    elif name == "set":
        out[at] = draw.choice((0, 0xFF, 0x7F, 0x80, draw.randrange(256)))
    elif name == "cut":
        del out[at:]
    elif name == "insert":
        out[at:at] = draw.randbytes(draw.choice((1, 2, 4, 8, 64, 4096)))
    elif name == "repeat":
        out[at:at] = out[at:to] * draw.choice((1, 1, 2, 16))
    elif name == "delete":
        del out[at:to]
    elif name == "splice":
        out[at:] = other[draw.randrange(len(other)) :]
    elif name == "integer":
        size = draw.choice((1, 2, 4, 8))
        value = draw.choice(INTEGERS) % (1 << (8 * size))
        out[at : at + size] = value.to_bytes(size, draw.choice(("little", "big")))
    else:
        for _ in range(draw.randrange(2, 64)):
            out[draw.randrange(n)] = draw.randrange(256)
    return name, bytes(out)
