"""A batch holds contiguous images without a gradient, and moves as a whole."""

from __future__ import annotations

import torch

from harden.data import Batch

INDEX = torch.tensor([5, 2])


def test_images_are_held_contiguous() -> None:
    x = torch.rand(2, 4, 5, 3).permute(0, 3, 1, 2)
    batch = Batch(x, torch.tensor([1, 0]), INDEX)
    assert batch.x.is_contiguous()
    assert torch.equal(batch.x, x)
    assert len(batch) == 2


def test_a_gradient_is_not_carried_on() -> None:
    x = torch.rand(2, 3, 4, 5, requires_grad=True)
    batch = Batch(x * 0.5, torch.tensor([1, 0]), INDEX)
    assert not batch.x.requires_grad
    assert x.requires_grad


def test_a_batch_moves_as_a_whole_and_is_not_copied_in_place() -> None:
    batch = Batch(torch.rand(2, 3, 4, 5), torch.tensor([1, 0]), INDEX)
    same = batch.to("cpu")
    assert all(getattr(same, part) is getattr(batch, part) for part in ("x", "y", "index"))
    other = batch.to("meta")
    assert {part.device.type for part in (other.x, other.y, other.index)} == {"meta"}
