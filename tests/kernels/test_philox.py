"""Philox in plain torch: known answers, Python's integers, and the order of words."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.kernels.philox import fill_normal_, fill_uniform_, philox, words
from tests.kernels.philox_in_python import philox_in_python

pytestmark = pytest.mark.usefixtures("rng_untouched")


# Random123, tests/kat_vectors: "philox4x32 10", counter, key, output.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter: str, key: str, output: str) -> None:
    a, b, c, d = (torch.tensor([word]) for word in _words(counter))
    low, high = _words(key)
    assert [int(word) for word in philox((a, b, c, d), (low, high))] == _words(output)


@given(st.tuples(*[st.integers(0, 2**32 - 1)] * 4), st.tuples(*[st.integers(0, 2**32 - 1)] * 2))
def test_philox_agrees_with_python_integers(counter: tuple[int, int, int, int], key: tuple[int, int]) -> None:
    a, b, c, d = (torch.tensor([word]) for word in counter)
    assert [int(word) for word in philox((a, b, c, d), key)] == philox_in_python(counter, key)


@given(st.integers(-(2**70), 2**70), st.integers(-(2**63), 2**63 - 1), st.integers(0, 11))
def test_a_word_is_an_output_of_its_counter(seed: int, example: int, count: int) -> None:
    key = (seed % 2**32, (seed >> 32) % 2**32)
    low, high = example % 2**32, (example >> 32) % 2**32
    expected = [word for block in range(3) for word in philox_in_python((block, low, high, 0), key)]
    assert words(seed, torch.tensor([example]), count).tolist() == [expected[:count]]


def test_uniform_and_normal_numbers_are_made_of_the_words_in_order() -> None:
    ids = torch.tensor([5, -9])
    uniform, normal = torch.empty(2, 3, 2), torch.empty(2, 5)
    fill_uniform_(uniform, ids, 3)
    fill_normal_(normal, ids, 3)
    made = [[(word >> 8) / 2**24 for word in row] for row in words(3, ids, 6).tolist()]
    assert uniform.flatten(1).tolist() == made
    for found, row in zip(normal.tolist(), made, strict=True):
        radius = [math.sqrt(-2 * math.log(u + 2**-24)) for u in row[:3]]
        pair = [radius[j % 3] * (math.cos, math.sin)[j // 3](2 * math.pi * row[3 + j % 3]) for j in range(5)]
        assert found == pytest.approx(pair, rel=2**-23)
