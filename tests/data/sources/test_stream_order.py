"""A stream with the same labels and images in other places is another stream."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from harden.data import from_loader, unlabelled
from harden.data.sources import loader_adapter, stream_order
from harden.data.sources.stream import StreamSource
from harden.data.sources.stream_order import SAMPLED, FirstPassSample
from harden.errors import InputError

Pass = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(x, y, number of the pass from 1) -> (x, y) of that pass."""

SAYS = r"in other places \(\d+ of \d+ that left.*would mix training and held-out images.*shuffling off"


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Stream:
    def __init__(self, x: Tensor, y: Tensor, each: Pass, batch: int = 20) -> None:
        self.x, self.y, self.each, self.batch, self.passes = x, y, each, batch, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        x, y = self.each(self.x, self.y, self.passes)
        return iter(zip(torch.split(x, self.batch), torch.split(y, self.batch), strict=True))


def images(n: int = 200, dtype: torch.dtype = torch.float32) -> Tensor:
    if dtype == torch.float32:
        return torch.rand(n, 1, 8, 8, generator=draw(0))
    return torch.randint(256, (n, 1, 8, 8), generator=draw(0)).to(dtype)


def streamed(each: Pass, monkeypatch: pytest.MonkeyPatch, x: Tensor | None = None) -> StreamSource:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 1000)
    x = images() if x is None else x
    source = from_loader(Stream(x, torch.arange(len(x)) % 2, each))
    assert isinstance(source, StreamSource)
    return source


def same(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return x, y


def shuffled(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Another order within each class in each pass; labels stay in theirs."""
    order = torch.arange(len(y))
    for label in (0, 1):
        own = (y == label).nonzero().squeeze(1)
        order[own] = own[torch.randperm(len(own), generator=draw(number))]
    return x.view(torch.int16)[order].view(x.dtype) if x.dtype == torch.uint16 else x[order], y


def rotated(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return x.roll(2 * number, 0), y


def two_swapped(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    order = torch.arange(len(y))
    if number > 2:
        order[[40, 90]] = order[[90, 40]]
    return x[order], y


def mirrored(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    turn = torch.rand(len(x), generator=draw(number)) < 0.5
    return torch.where(turn.view(-1, 1, 1, 1), x.flip(3), x), y


def noisy(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return x * torch.rand(x.shape, generator=draw(number)), y


def shuffled_and_mirrored(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return mirrored(*shuffled(x, y, number), number)


@pytest.mark.parametrize("each", [shuffled, rotated, two_swapped, shuffled_and_mirrored])
def test_images_permuted_within_a_class_are_refused(each: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    rest, held = streamed(each, monkeypatch).hold_out(0.2, 0)
    with pytest.raises(InputError, match=SAYS) as caught:
        list(chain.from_iterable(part.epoch(draw(1)) for part in (rest, held, rest)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [2000, 20000])
@pytest.mark.parametrize("each", [shuffled, rotated, shuffled_and_mirrored])
def test_a_sample_tells_it_of_a_long_stream(each: Pass, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = streamed(each, monkeypatch, images(n))
    with pytest.raises(InputError, match=SAYS):
        list(source.epoch(None))


def test_it_is_told_before_the_pass_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget may end in the middle of an epoch, and what was trained on by then counts."""
    batches = streamed(rotated, monkeypatch, images(4000)).epoch(None)
    with pytest.raises(InputError, match=SAYS):
        list(islice(batches, 1000 // 20))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_stored_types(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    list(streamed(same, monkeypatch, images(dtype=dtype)).epoch(draw(1)))
    with pytest.raises(InputError, match=SAYS):
        list(streamed(shuffled, monkeypatch, images(dtype=dtype)).epoch(draw(1)))


def warnings_of(source: StreamSource, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING, "harden"):
        for part in source.hold_out(0.2, 0):
            for seed in range(3):
                list(part.epoch(draw(seed)))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("each", "differ"), [(noisy, "200 of 200"), (mirrored, r"\d+ of 200")])
def test_random_transforms_are_allowed_and_said_once(
    each: Pass, differ: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (said,) = warnings_of(streamed(each, monkeypatch), caplog)
    assert said.startswith("Stream: ")
    assert "can't be checked" in said
    assert re.search(differ, said)


@pytest.mark.parametrize("how", ["apart", "copies", "all alike", "zeros of either sign"])
def test_a_stream_that_stays_is_passed_without_a_word(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x = images(3000)
    if how == "copies":  # of images in the sample, at places beyond it
        x[1::2] = x[::2]
    elif how == "all alike":
        x[:] = 0.5
    elif how == "zeros of either sign":
        x[:] = 0

    def signed(x: Tensor, y: Tensor, number: int) -> tuple[Tensor, Tensor]:
        return (-x if how == "zeros of either sign" and number > 1 else x), y

    assert warnings_of(streamed(signed, monkeypatch, x), caplog) == []


def test_copies_under_random_transforms_are_no_other_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x = images(2000)
    x[[3, 501, 1003, 1999]] = x[[0, 16, 80, 160]]  # places in the sample, and places beyond
    assert len(warnings_of(streamed(mirrored, monkeypatch, x), caplog)) == 1


def test_images_without_labels_may_come_in_any_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is held out from them."""
    source = streamed(shuffled, monkeypatch)
    list(unlabelled(source).epoch(draw(1)))
    bare = unlabelled(Stream(images(), torch.zeros(200, dtype=torch.int64), shuffled))
    assert isinstance(bare, StreamSource)
    assert len(list(bare.epoch(draw(1)))) == 10
    assert not caplog.records


def test_a_loader_that_gives_the_same_memory_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 1000)

    class Reused:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            held = torch.empty(20, 1, 8, 8)
            for part in torch.split(images(), 20):
                yield held.copy_(part), torch.arange(20) % 2

    source: Any = from_loader(Reused())
    assert torch.equal(torch.cat([batch.x for batch in source.epoch(None)]), images())


@pytest.mark.parametrize("batch", [1, 7, 64, 5000])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 5000])
def test_the_sample_is_bounded_and_spread_over_the_stream(n: int, batch: int) -> None:
    found = FirstPassSample()
    for part in torch.split(torch.arange(n).view(-1, 1, 1, 1) / n, batch):
        found.add(part)
    kept = sorted(found._known)
    assert min(n, SAMPLED // 2) <= len(kept) <= SAMPLED
    gaps = {b - a for a, b in pairwise(kept)}
    assert len(gaps) <= 1
    assert kept[0] == 0
    assert n - kept[-1] <= max(gaps, default=1)


def test_few_images_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = 0
    original = stream_order._keys

    def counted(x: Tensor) -> list[bytes]:
        nonlocal hashed
        hashed += len(x)
        return original(x)

    monkeypatch.setattr(stream_order, "_keys", counted)
    source = streamed(same, monkeypatch, images(10000))
    first = hashed
    assert first < 2000
    list(source.epoch(draw(1)))
    assert hashed - first <= SAMPLED
