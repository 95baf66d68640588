"""Private random states for transforms that run in this process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


def draw_seed(generator: torch.Generator | None) -> int:
    """Draw the seed of an epoch's transforms; 0 where there is no generator."""
    if generator is None:
        return 0
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


def with_private_rng(items: Iterator[Any], seed: int) -> Iterator[Any]:
    """Iterate over items that transforms in this process compute, on private random states.

    torch seeds workers; without workers the user's transforms draw from the process's global states, and
    would depend on every other draw.
    """
    states = _seeded_states(seed)
    while True:
        outside = _global_states()
        _set_global_states(states)
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            states = _global_states()
            _set_global_states(outside)
        yield item


_States = tuple[Tensor, tuple[Any, ...], dict[str, Any]]


def _global_states() -> _States:
    return torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)


def _set_global_states(states: _States) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


def _seeded_states(seed: int) -> _States:
    legacy = np.random.RandomState(seed % 2**32).get_state(legacy=False)
    own = torch.Generator().manual_seed(seed).get_state()
    return own, random.Random(seed).getstate(), legacy  # noqa: S311  # no secret
