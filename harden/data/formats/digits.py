"""Loader of scikit-learn's handwritten digits, the data of the demo."""

from __future__ import annotations

import torch

from harden.data.examples import Examples
from harden.data.splits.split import Splits, split
from harden.errors import InputError


def load_digits() -> Splits:
    """Load 1,797 images (1, 8, 8) of 10 digits, pixels k/16: 1,198 to train on and 599 to test, stratified.

    Source: Alpaydin & Kaynak 1998, test part, CC BY 4.0, as shipped by scikit-learn.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as read
    except ImportError:
        raise InputError(
            "digits: scikit-learn is not installed", "the demo extra", 'run pip install "harden-vision[demo]"'
        ) from None
    pixels, labels = read(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(labels, dtype=torch.int64)
    train, test = split(Examples(x, y, tuple("0123456789"), "digits"), 1 / 3, seed=0)
    return Splits(train, test, "digits")
