"""Images without labels: from every form, for pretraining alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from harden.data import Examples, Splits, from_loader, unlabelled
from harden.errors import InputError

X = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 4


class Alone(Dataset[Tensor]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, position: int) -> Tensor:
        return X[position]


class Dicts(Alone):
    def __getitem__(self, position: int) -> Any:
        return {"pixel_values": X[position], "id": position}


def forms() -> dict[str, Any]:
    parts = [X[:8], X[8:16], X[16:]]
    return {
        "tensor": X,
        "array": X.permute(0, 2, 3, 1).numpy(),
        "pair": (X, Y),
        "examples": Examples(X, Y, tuple("abcd")),
        "source": from_loader((X, Y)),
        "images alone": iter(parts),
        "two batches": [X[:8], X[8:]],
        "tuples of one": [(x,) for x in parts],
        "pairs": [(x, None) for x in parts],
        "pairs with labels of any kind": [(x, ["?"] * len(x)) for x in parts],
        "dicts": [{"image": x, "age": torch.rand(len(x))} for x in parts],
        "dataset": Alone(),
        "loader": DataLoader(Alone(), batch_size=8, shuffle=True),
        "loader of one": DataLoader(TensorDataset(X), batch_size=8),
        "loader of pairs": DataLoader(TensorDataset(X, Y), batch_size=8),
        "loader of dicts": DataLoader(Dicts(), batch_size=8),
        "made loader": from_loader(DataLoader(TensorDataset(X, Y), batch_size=8)),
    }


@pytest.mark.parametrize("form", list(forms()))
def test_all_forms_give_the_images_and_no_label(form: str) -> None:
    source = unlabelled(forms()[form], 8)
    assert len(source) == 20
    for generator in (None, torch.Generator().manual_seed(1)):
        batches = list(source.epoch(generator))
        index = torch.cat([batch.index for batch in batches])
        assert sorted(index.tolist()) == list(range(20))
        assert torch.equal(torch.cat([batch.x for batch in batches]), X[index])
        assert torch.cat([batch.y for batch in batches]).tolist() == [-1] * 20
    with pytest.raises(InputError, match=r"hold out from images without labels.*unlabelled="):
        source.hold_out(0.2, 0)
    assert source.classes is None  # type: ignore[attr-defined]


def test_no_loss_on_labels_takes_such_a_batch() -> None:
    batch = next(unlabelled(X).epoch(None))
    with pytest.raises((IndexError, RuntimeError)):
        functional.cross_entropy(torch.zeros(len(batch), 4), batch.y)


def test_a_named_field_is_taken() -> None:
    batches = [(["id"] * 10, x, x.flip(0)) for x in (X[:10], X[10:])]
    with pytest.raises(InputError, match=r"batch of 3 things.*field=1\)"):
        unlabelled(batches)
    assert torch.equal(torch.cat([b.x for b in unlabelled(batches, field=1).epoch(None)]), X)
    with pytest.raises(InputError, match=r"'scan'.*unlabelled\(loader, field='scan'\)"):
        unlabelled([{"scan": X}])
    with pytest.raises(InputError, match="the field 'image'"):
        unlabelled([{"scan": X}], field="image")


def test_labels_of_a_labelled_set_are_still_refused_where_they_are_missing() -> None:
    with pytest.raises(InputError, match=r"label of -1.*harden\.data\.unlabelled"):
        from_loader((X, torch.full((20,), -1)))
    with pytest.raises(InputError, match="label of -1"):
        Examples(X, torch.where(Y == 0, -1, Y), tuple("abcd"))
    with pytest.raises(InputError, match="label of 3 with 0 classes"):
        Examples(X, Y, ())


def test_splits_and_sources_of_a_user() -> None:
    examples = Examples(X, Y, tuple("abcd"))
    with pytest.raises(InputError, match=r"splits\.unlabelled"):
        unlabelled(Splits(examples, examples, "s"))

    class Own:
        batch_size = 8

        def __len__(self) -> int:
            return 20

        def epoch(self, generator: torch.Generator | None) -> Iterator[Any]:
            return iter(())

        def hold_out(self, fraction: float, seed: int) -> tuple[Own, Own]:
            return self, self

        def describe(self) -> str:
            return "own"

    own = Own()
    assert unlabelled(own) is own
