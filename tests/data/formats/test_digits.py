"""The handwritten digits: their numbers, their split, and the extra that they need."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from harden.data import leaks, load
from harden.errors import InputError


def test_digits() -> None:
    splits = load("digits")
    assert (len(splits.train), len(splits.test)) == (1198, 599)
    assert splits.train.image_shape == (1, 8, 8)
    assert splits.train.classes == tuple("0123456789")
    assert set((splits.train.x * 16).flatten().tolist()) == set(map(float, range(17)))
    shares = splits.test.y.bincount() / (splits.test.y.bincount() + splits.train.y.bincount())
    assert (shares - 1 / 3).abs().max() < 0.004
    assert load("digits").test.digest() == splits.test.digest()


def test_digits_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "harden-vision\[demo\]"'):
        load("digits")


def test_the_digits_have_no_copies_and_their_split_stays() -> None:
    # The published numbers of the demo speak of these images.
    splits = load("digits")
    assert len(leaks(splits.train, splits.test)) == 0
    assert splits.train.digest()[:16] == "6b8460be92b30d27"
    assert splits.test.digest()[:16] == "3b4a1fdf1a98ed45"
