"""Draws: known answers of Philox, independence of everything but seed and id, and the right distributions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from harden.draws import Draws, mix
from harden.errors import InputError
from tests.kernels.philox_in_python import philox_in_python

pytestmark = pytest.mark.usefixtures("rng_untouched")

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20)
SEEDS = st.integers(-(2**70), 2**70)
SHAPES = st.sampled_from([(), (1,), (3,), (4,), (5,), (3, 2, 2), (0,)])


def _ids(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


@given(SEEDS, st.integers(-(2**63), 2**63 - 1))
def test_a_draw_is_the_documented_function_of_seed_and_id(seed: int, example: int) -> None:
    """Written down once more, so that no release changes the numbers that a certificate depends on."""
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    id_words = (example & 0xFFFFFFFF, (example >> 32) & 0xFFFFFFFF)
    words = [word for block in range(2) for word in philox_in_python((block, *id_words, 0), key)]
    uniform = Draws(seed, _ids(example)).uniform((6,))
    assert uniform.dtype == torch.float32
    assert uniform[0].tolist() == [(word >> 8) / 2**24 for word in words[:6]]


@given(SEEDS, IDS, SHAPES, st.randoms(use_true_random=False))
def test_an_example_draws_the_same_alone_in_a_batch_and_in_any_order(
    seed: int, ids: list[int], shape: tuple[int, ...], random: object
) -> None:
    order = list(range(len(ids)))
    random.shuffle(order)  # type: ignore[attr-defined]
    together, shuffled = Draws(seed, _ids(*ids)), Draws(seed, _ids(*(ids[i] for i in order)))
    for kind in ("uniform", "normal"):
        values = getattr(together, kind)(shape)
        assert values.shape == (len(ids), *shape)
        assert values.dtype == torch.float32
        assert torch.equal(getattr(shuffled, kind)(shape), values[order])
        alone = torch.cat([getattr(Draws(seed, _ids(i)), kind)(shape) for i in ids])
        assert torch.equal(alone, values)


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_the_batch_size_changes_no_bit(size: int, kind: str) -> None:
    whole = getattr(Draws(3, torch.arange(64)), kind)((3, 5, 5))
    parts = [getattr(Draws(3, ids), kind)((3, 5, 5)) for ids in torch.split(torch.arange(64), size)]
    assert torch.equal(torch.cat(parts), whole)


@given(SEEDS, IDS, st.data())
def test_take_keeps_every_examples_draws(seed: int, ids: list[int], data: st.DataObject) -> None:
    draws = Draws(seed, _ids(*ids))
    keep = data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    mask = torch.tensor(keep)
    taken, positions = draws.take(mask), draws.take(mask.nonzero().flatten())
    assert len(taken) == sum(keep)
    assert torch.equal(taken.ids, positions.ids)
    assert torch.equal(taken.uniform((5,)), draws.uniform((5,))[mask])
    assert torch.equal(taken.fold(2).normal((5,)), draws.fold(2).normal((5,))[mask])


def test_ids_beyond_32_bits_have_draws_of_their_own() -> None:
    ids = _ids(1, 1 + 2**32, 1 + 2**33, 2**62, -1, -(2**63))
    rows = Draws(0, ids).uniform((8,))
    assert len({tuple(row.tolist()) for row in rows}) == len(ids)


def test_seeds_beyond_32_bits_have_draws_of_their_own_and_only_64_bits_count() -> None:
    ids = _ids(0)
    rows = [tuple(Draws(seed, ids).uniform((8,))[0].tolist()) for seed in (1, 1 + 2**32, 2**63, -1)]
    assert len(set(rows)) == len(rows)
    assert torch.equal(Draws(-1, ids).uniform((8,)), Draws(2**64 - 1, ids).uniform((8,)))


@given(SEEDS, st.lists(st.integers(0, 10_000), min_size=2, max_size=8, unique=True))
def test_folds_are_streams_of_their_own(seed: int, names: list[int]) -> None:
    draws = Draws(seed, _ids(0, 1))
    streams = [draws, *(draws.fold(name) for name in names), draws.fold(names[0], names[1])]
    assert len({mix(stream.seed) for stream in streams}) == len(streams)
    assert len({tuple(stream.uniform((4,)).flatten().tolist()) for stream in streams}) == len(streams)
    assert all(torch.equal(stream.ids, draws.ids) for stream in streams)


def test_folding_is_ordered_and_can_be_done_in_steps() -> None:
    draws = Draws(5, _ids(0))
    assert draws.fold(1, 2).seed == draws.fold(1).fold(2).seed
    assert draws.fold(1, 2).seed != draws.fold(2, 1).seed
    assert draws.fold(0).seed != draws.seed


def test_folding_gives_no_seed_twice() -> None:
    """Seeds, restarts and steps as training and evaluation use them: small integers, densely."""
    seeds = {mix(seed, restart, step) for seed in range(20) for restart in range(20) for step in range(50)}
    assert len(seeds) == 20 * 20 * 50


def test_uniform_numbers_are_uniform() -> None:
    values = Draws(0, torch.arange(200)).uniform((500,)).flatten()
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-3
    counts = torch.histc(values, bins=64, min=0, max=1)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("position", range(5))
def test_uniform_numbers_are_uniform_across_examples(position: int) -> None:
    """Neighbouring ids and neighbouring seeds are what a batch and a sweep consist of."""
    across_ids = Draws(0, torch.arange(20_000)).uniform((5,))[:, position]
    assert stats.kstest(across_ids.numpy(), "uniform").pvalue > 1e-3
    across_seeds = torch.cat([Draws(seed, _ids(0)).uniform((5,)) for seed in range(3_000)])[:, position]
    assert stats.kstest(across_seeds.numpy(), "uniform").pvalue > 1e-3


def test_draws_of_different_ids_positions_and_folds_are_uncorrelated() -> None:
    draws = Draws(1, torch.arange(20_000))
    columns = torch.cat(
        [draws.uniform((5,)), draws.fold(0).uniform((5,)), draws.fold(1).uniform((5,))], dim=1
    )
    lagged = torch.cat([columns[:-1], columns[1:]], dim=1)
    correlation = torch.corrcoef(lagged.T) - torch.eye(30)
    # 435 pairs, n = 20,000: the largest of that many is beyond 5 / sqrt(n) once in 4,000 times.
    assert float(correlation.abs().max()) < 5 / math.sqrt(20_000)


def test_normal_numbers_are_normal() -> None:
    values = Draws(0, torch.arange(400)).normal((251,)).flatten().double()
    n = len(values)
    assert bool(values.isfinite().all())
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(float((values**power).mean()) - moment) < 4 * math.sqrt(variance / n)


def test_a_word_of_zero_does_not_make_an_infinite_number() -> None:
    """The logarithm's argument starts at 2^-24, not at 0; one word in 16.8 million is that small."""
    draws = Draws(0, _ids(1_224_113))
    assert float(draws.uniform((1,))) == 0
    pair = draws.normal((2,))
    assert bool(pair.isfinite().all())
    assert float(pair.double().square().sum()) == pytest.approx(2 * 24 * math.log(2), rel=1e-6)


def test_the_two_halves_of_a_normal_pair_are_independent() -> None:
    pairs = Draws(2, torch.arange(20_000)).normal((2,)).double()
    bound = 4 / math.sqrt(20_000)
    assert abs(float(torch.corrcoef(pairs.T)[0, 1])) < bound
    assert abs(float(torch.corrcoef(pairs.square().T)[0, 1])) < bound


@pytest.mark.parametrize(
    "ids",
    [torch.zeros(3), torch.zeros(3, dtype=torch.int32), torch.zeros((3, 1), dtype=torch.int64), _ids(1)[0]],
)
def test_ids_of_another_kind_are_refused(ids: Tensor) -> None:
    with pytest.raises(InputError, match="expected an int64 tensor of shape \\(N,\\)") as caught:
        Draws(0, ids)
    assert caught.value.instead == "pass Draws(seed, torch.arange(len(x)))"


def test_no_examples_draw_nothing() -> None:
    draws = Draws(0, torch.arange(0))
    assert draws.uniform((3, 2)).shape == (0, 3, 2)
    assert draws.normal((3, 2)).shape == (0, 3, 2)
