"""Compaction of a batch: which examples stay, and how many fill it up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.attacks.engine.compaction import filled_up, remaining_positions


@pytest.mark.parametrize(
    ("standing", "size"), [(16, None), (15, None), (14, 14), (13, 14), (3, 4), (1, 2), (0, 0)]
)
def test_a_batch_shrinks_to_a_multiple_filled_up_with_settled_examples(
    standing: int, size: int | None
) -> None:
    settled = torch.ones(16, dtype=torch.bool)
    settled[torch.randperm(16, generator=torch.Generator().manual_seed(standing))[:standing]] = False
    keep = (~settled).nonzero().squeeze(1)
    found = filled_up(keep, settled, 2)
    if size is None:
        assert found is None
        return
    assert found is not None
    assert len(found) == len(set(found.tolist())) == size
    assert set(keep.tolist()) <= set(found.tolist())
    assert found.tolist() == sorted(found.tolist())


@given(st.lists(st.booleans(), max_size=40))
def test_a_batch_is_cut_where_a_tenth_or_more_is_settled(settled: list[bool]) -> None:
    left = [position for position, done in enumerate(settled) if not done]
    found = remaining_positions(torch.tensor(settled, dtype=torch.bool), len(settled))
    if 10 * len(left) > 9 * len(settled):
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == left
