"""Arrays by their names: a test part alone, layouts, and what comes as a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harden.data import from_loader, load
from harden.data.formats.arrays import images, labels
from harden.errors import InputError

X = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 4), dtype=np.uint8)
Y = np.arange(12) % 3


def npz(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "set.npz", **arrays)
    return f"npz:{folder / 'set.npz'}"


def test_the_layout_is_told_named_or_refused(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
    assert load(npz(tmp_path, **arrays)).test.image_shape == (4, 6, 6)
    first = {key: value.transpose(0, 3, 1, 2) if value.ndim == 4 else value for key, value in arrays.items()}
    with pytest.raises(InputError, match=r"x_train of shape \(12, 4, 6, 6\), probably"):
        load(npz(tmp_path, **first))
    splits = load(npz(tmp_path, **first, layout="NCHW"))
    assert torch.equal(splits.test.x, torch.from_numpy(X.transpose(0, 3, 1, 2).copy()))
    with pytest.raises(InputError, match="NHWC or NCHW"):
        load(npz(tmp_path, **first, layout="CHWN"))


def test_a_test_part_alone(tmp_path: Path) -> None:
    spec = npz(tmp_path, x_test=X, y_test=Y, group_test=Y)
    with pytest.raises(InputError, match="x_train, y_train missing"):
        load(spec)
    splits = load(spec, needs_train=False)
    assert splits.is_test_alone
    assert splits.test.groups is not None
    with pytest.raises(InputError, match="images and labels in pairs"):
        load(npz(tmp_path, x_test=X, y_test=Y, x_train=X), needs_train=False)


def test_labels_without_zero_or_far_apart(tmp_path: Path) -> None:
    for y, says in ((Y + 1, "write y - 1"), (np.where(Y == 2, 2**40, Y), "different ones")):
        with pytest.raises(InputError, match=says):
            load(npz(tmp_path, x_train=X, y_train=y, x_test=X, y_test=y))
    with pytest.raises(InputError, match="different ones"):
        from_loader((X.astype("f4") / 255, np.where(Y == 2, 2**40, Y)))


def test_images_along_the_last_axis_and_names_that_occur_twice(tmp_path: Path) -> None:
    turned = X.transpose(1, 2, 3, 0)
    with pytest.raises(InputError, match=r"probably \(H, W, C, N\).*transpose\(3, 0, 1, 2\)"):
        load(npz(tmp_path, x_train=turned, y_train=Y, x_test=turned, y_test=Y))
    with pytest.raises(InputError, match="named twice"):
        load(npz(tmp_path, x_train=X, y_train=Y, x_test=X, y_test=Y, classes=np.array(["a", "b", "a"])))


def test_parts_of_two_types_are_each_said(tmp_path: Path) -> None:
    floats = (X / 255).astype("f4")
    remarks = load(npz(tmp_path, x_train=X, y_train=Y, x_test=floats, y_test=Y)).remarks
    assert remarks == ("4x6x6 (C, H, W), float32 pixels from 0 to 1, uint8 pixels from 0 to 255",)


def test_a_pair_of_lists_and_a_range_behind_a_pair() -> None:
    x, y = torch.rand(6, 1, 4, 4), [0, 1, 2, 0, 1, 2]
    assert len(from_loader((list(x), y))) == 6
    assert len(from_loader([(x, y), (x, y)])) == 12
    with pytest.raises(InputError, match="nothing but 0 and 1"):
        from_loader(((x > 0.5).to(torch.uint8), y))
    with pytest.raises(InputError, match=r"write x\.to_dense"):
        from_loader((x.to_sparse(), y))


def test_lists_of_tensors_and_of_pictures() -> None:
    assert images([torch.zeros(3, 4, 5)] * 2, "x").shape == (2, 3, 4, 5)
    assert images([Image.new("RGB", (5, 4))] * 2, "x").shape == (2, 3, 4, 5)
    assert labels([torch.tensor(1), torch.tensor(0)], "y").tolist() == [1, 0]
    for value in (
        [torch.zeros(3, 4, 5), torch.zeros(3, 5, 4)],
        [Image.new("L", (5, 4)), Image.new("L", (4, 5))],
    ):
        with pytest.raises(InputError, match=r"one (size|shape)"):
            images(value, "x")


def test_a_gradient_is_left_behind() -> None:
    x = torch.rand(4, 1, 4, 4, requires_grad=True)
    assert not images(x, "x").requires_grad
    source = from_loader([(x, torch.arange(4))])
    assert not next(source.epoch(None)).x.requires_grad
