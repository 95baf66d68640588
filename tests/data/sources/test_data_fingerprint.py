"""The identity of data: equal in another process, different for other data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset

from harden.data import from_loader, identity, unlabelled
from harden.data.examples import to_unit
from harden.data.sources import loader_adapter


def pair(n: int = 600) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 1, 4, 4), generator=generator).to(torch.uint8), torch.arange(n) % 4


class Bare(Dataset[Any]):
    """Returns no labels without reading an image; counts what is read."""

    def __init__(self, n: int = 600) -> None:
        self.n, self.read = n, 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        self.read += 1
        return torch.full((1, 4, 4), position / 1000), position % 4


class Stream:
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = pair()
        return iter([(x[k : k + 50], y[k : k + 50]) for k in range(0, 600, 50)])


def kinds() -> dict[str, Any]:
    x, y = pair()
    groups = torch.arange(600) // 3
    streamed = None
    limit, loader_adapter.MEMORY_LIMIT = loader_adapter.MEMORY_LIMIT, 1000
    try:
        streamed = from_loader(Stream())
    finally:
        loader_adapter.MEMORY_LIMIT = limit
    return {
        "memory": from_loader((x, y)),
        "groups": from_loader((x, y), groups=groups),
        "loader": from_loader(TensorDataset(to_unit(x), y)),
        "part": from_loader(Subset(TensorDataset(to_unit(x), y), range(300, 600))),
        "bare": from_loader(Bare()),
        "stream": streamed,
        "unlabelled": unlabelled(x),
    }


PRINT = "import json, runpy, sys; m = runpy.run_path(sys.argv[1]); " + (
    "print(json.dumps({k: m['identity'](s) for k, s in m['kinds']().items()}))"
)


def test_is_the_same_in_another_process_and_at_another_batch_size() -> None:
    found = {kind: identity(source) for kind, source in kinds().items()}
    for kind, source in kinds().items():
        assert identity(source.resized(17)) == found[kind]
    ran = subprocess.run([sys.executable, "-c", PRINT, __file__], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == found
    # The stream holds what the loader holds; all others are different data.
    assert found.pop("stream") == found["loader"]
    assert len({json.dumps(one, sort_keys=True) for one in found.values()}) == len(found)


def test_other_content_is_another_set() -> None:
    x, y = pair()
    own = identity(from_loader((x, y)))
    changed = x.clone()
    changed[599, 0, 3, 3] ^= 1
    assert identity(from_loader((changed, y)))["images"] != own["images"]
    assert identity(from_loader((x, y.flip(0))))["labels"] != own["labels"]
    assert identity(from_loader((x[:-1], y[:-1])))["n"] != own["n"]


def permuted_within_a_class(y: Tensor) -> Tensor:
    order = torch.arange(len(y))
    own = (y == 1).nonzero().squeeze(1)
    order[own] = own.roll(1)
    assert torch.equal(y[order], y)
    return order


@pytest.mark.parametrize("way", ["memory", "grouped", "batches", "loader", "stream", "own"])
def test_images_permuted_within_a_class_are_another_run(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits go by position: the run would train on images that it had held out."""
    x, y = pair(200)
    order = permuted_within_a_class(y)

    def source(x: Tensor) -> Any:
        if way == "memory":
            return from_loader((x, y))
        if way == "grouped":
            return from_loader((x, y), groups=torch.arange(200) // 50)
        if way == "loader":
            return from_loader(TensorDataset(to_unit(x), y))
        if way == "own":
            return OnlySource(from_loader((x, y), 50))
        monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 1000 if way == "stream" else 10**6)
        return from_loader([(x[:70], y[:70]), (x[70:], y[70:])])

    own, other = identity(source(x)), identity(source(x[order]))
    assert identity(source(x.clone())) == own
    assert other.pop("images") != own.pop("images")
    assert other == own
    if way != "own":
        assert hold_out_images(source(x)) & hold_out_images(source(x[order])) != hold_out_images(source(x))


def hold_out_images(source: Any) -> set[bytes]:
    _, held = source.hold_out(0.2, 0)
    return {image.numpy().tobytes() for batch in held.epoch(None) for image in batch.x}


class OnlySource:
    """A Source of a user's own, of which nothing is known but its batches."""

    batch_size = 50

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, generator: torch.Generator | None) -> Iterator[Any]:
        return iter(self.inner.epoch(generator))

    def hold_out(self, fraction: float, seed: int) -> tuple[Any, Any]:
        return self, self

    def describe(self) -> str:
        return "own"


def test_what_else_decides_batches_is_part_of_it() -> None:
    x, y = pair()
    data = TensorDataset(to_unit(x), y)

    def of(**options: Any) -> dict[str, Any]:
        return identity(from_loader(DataLoader(data, **options)))

    own = of(batch_size=64)
    assert own["drop_last"] is False
    assert of(batch_size=64, drop_last=True) == {**own, "drop_last": True}
    assert of(batch_size=32, shuffle=True, num_workers=0) == own
    # Beyond the hashed images positions distinguish samplers.
    every = list(range(600))
    swapped = [*every[: 599 - 4], every[599], *every[596:599], every[595]]
    assert torch.equal(y[swapped], y)
    known = of(sampler=SubsetRandomSampler(every))
    assert known == own
    assert of(sampler=SubsetRandomSampler(swapped))["positions"] != own["positions"]
    assert of(sampler=SubsetRandomSampler(every[:-1]))["positions"] != own["positions"]


def test_a_large_set_is_not_read_whole() -> None:
    bare = Bare()
    found = identity(from_loader(DataLoader(bare, batch_size=100)))
    assert found["labels"] is None
    assert bare.read == 256


def test_a_user_s_own_source_is_known_by_its_first_batch() -> None:
    class Own:
        batch_size = 8
        asked = 0

        def __len__(self) -> int:
            return 600

        def epoch(self, generator: torch.Generator | None) -> Iterator[Any]:
            for batch in from_loader(pair(), 8).epoch(None):
                self.asked += 1
                yield batch

        def hold_out(self, fraction: float, seed: int) -> tuple[Own, Own]:
            return self, self

        def describe(self) -> str:
            return "own"

    own = Own()
    x, y = pair()
    expected = identity(from_loader((x[:8], y[:8])))["images"]
    nothing = {"labels": None, "groups": None, "positions": None, "drop_last": False}
    assert identity(own) == {"n": 600, **nothing, "images": expected}
    assert own.asked == 1


def test_identity_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in kinds().values():
        found = identity(source)
        assert json.loads(json.dumps(found)) == found
