"""Forms of a data set's name, and suggestions for unknown ones."""

from __future__ import annotations

import pytest

from harden.data import load
from harden.errors import InputError


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("digit", "did you mean digits"),
        ("Digits", "did you mean digits"),
        ("nzp:data.npz", "did you mean npz:FILE"),
        ("fodler:data", "did you mean folder:DIR"),
        ("npz:", "did you mean npz:FILE"),
        ("torchvision:MNIST", "did you mean torchvision:NAME:ROOT"),
        ("torch-vision:MNIST:x", "did you mean torchvision:NAME:ROOT"),
        ("", "write one of these forms"),
        ("imagenet", r"expected digits · npz:FILE · folder:DIR"),
    ],
)
def test_unknown_specs_get_a_suggestion(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(spec)
