"""What a resumed run compares: the same in another process, other for other data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from harden.data import Examples, from_loader, identity, loaders, unlabelled
from harden.data.examples import to_unit


def pair(n: int = 600) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 1, 4, 4), generator=generator).to(torch.uint8), torch.arange(n) % 4


class Bare(Dataset[Any]):
    """Tells no labels without reading an image; counts what is read."""

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
    limit, loaders.MEMORY_LIMIT = loaders.MEMORY_LIMIT, 1000
    try:
        streamed = from_loader(Stream())
    finally:
        loaders.MEMORY_LIMIT = limit
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
    # Another order is another run, though the same images: positions seed the attacks.
    turned = identity(from_loader((x.flip(0), y.flip(0))))
    assert turned["images"] == own["images"]
    assert turned != own


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
    expected = Examples(x[:8], y[:8], tuple("abcd")).digest()
    assert identity(own) == {"n": 600, "labels": None, "groups": None, "positions": None, "images": expected}
    assert own.asked == 1


@given(st.permutations(list(range(12))), st.integers(1, 13))
def test_the_digest_knows_neither_order_nor_batches(order: list[int], size: int) -> None:
    from harden.data.digests import digest

    x, y = pair(12)
    expected = Examples(x, y, tuple("abcd")).digest()
    source = from_loader((x[order], y[order]), size)
    assert digest(source.epoch(None)) == expected
    assert digest(source.epoch(torch.Generator().manual_seed(size))) == expected


def test_identity_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in kinds().values():
        found = identity(source)
        assert json.loads(json.dumps(found)) == found
