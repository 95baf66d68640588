"""Seeding of the global generators: the seed decides inside, and the states are restored afterwards."""

from __future__ import annotations

import pytest
import torch

from harden.training.global_rng import seeded

CPU = torch.device("cpu")


def test_the_seed_alone_decides_what_is_drawn_inside() -> None:
    drawn = []
    for outside, seed in ((1, 7), (2, 7), (1, 8)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(outside)
            with seeded(seed, CPU):
                drawn.append(torch.rand(5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0], torch.rand(5, generator=torch.Generator().manual_seed(7)))


@pytest.mark.usefixtures("rng_untouched")
def test_the_state_is_restored_after_an_error_too() -> None:
    with pytest.raises(OSError, match="gone"), seeded(3, CPU):
        raise OSError(f"gone {torch.rand(())}")
