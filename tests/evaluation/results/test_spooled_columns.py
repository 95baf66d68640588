"""What is kept of images: the same numbers back, in memory that does not grow with them."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.evaluation import Evaluation, EvaluationProgress, evaluate, pgd_suite
from harden.evaluation.results import spooled_columns
from harden.evaluation.results.batch_outcome import BatchWitnesses
from harden.evaluation.results.spooled_columns import SpooledColumn, SpooledWitnesses, join_witnesses
from harden.models import Classifier
from harden.threats import Linf


def found(index: list[int]) -> BatchWitnesses:
    rows = torch.tensor(index, dtype=torch.int64)
    images = torch.rand(len(index), 1, 2, 3)
    return BatchWitnesses(rows, rows % 3, rows % 2, images, images / 2)


@pytest.mark.parametrize("in_memory", [2**20, 16])
def test_columns_give_back_what_was_added(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooled_columns, "IN_MEMORY", in_memory)
    parts = [torch.rand(n, 2, 3) for n in (3, 0, 5)]
    column = SpooledColumn(np.float32)
    for part in parts:
        column.add(part)
    assert torch.equal(column.tensor(), torch.cat(parts))
    numbers = SpooledColumn(np.int32)
    numbers.add(torch.tensor([-1, 2**31 - 1, 0]))
    assert numbers.tensor().dtype == torch.int64
    assert numbers.tensor().tolist() == [-1, 2**31 - 1, 0]


@pytest.mark.parametrize("in_memory", [2**20, 16])
@pytest.mark.parametrize(
    "batches",
    [[[[3, 1], [2]], [[7], []]], [[[5, 6]], [[0, 1]]], [[[], []]]],
    ids=["rising", "falling", "none"],
)
def test_witnesses_are_those_of_all_batches_by_position(
    batches: list[list[list[int]]], in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled_columns, "IN_MEMORY", in_memory)
    given = [[found(index) for index in batch] for batch in batches]
    kept = SpooledWitnesses()
    for batch in given:
        kept.add(batch)
    whole = join_witnesses([one for batch in given for one in batch])
    for name in ("index", "label", "prediction", "original", "witness"):
        assert torch.equal(getattr(kept.witnesses(), name), getattr(whole, name)), name
        assert getattr(kept.witnesses(), name).dtype == getattr(whole, name).dtype


def tensors() -> tuple[int, int]:
    """How many tensors there are, and how many bytes they hold."""
    gc.collect()
    alive = [one for one in gc.get_objects() if type(one) is Tensor]
    memory = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in alive}
    return len(alive), sum(memory.values())


def test_an_evaluation_keeps_no_tensor_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the images, as many tensors: what is kept lies in columns, and images beyond a size on disk."""
    monkeypatch.setattr(spooled_columns, "IN_MEMORY", 2**12)
    draws = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    x = torch.rand(160, 1, 8, 8, generator=draws)
    with torch.no_grad():
        for values in network.parameters():
            values.copy_(torch.randn(values.shape, generator=draws))
        y = network(x).argmax(1)
    seen: dict[int, tuple[int, int]] = {}

    def on_batch(at: EvaluationProgress) -> None:
        seen[at.done] = tensors()

    result: Evaluation = evaluate(
        Classifier(network), (x, y), Linf("1/4"), pgd_suite(2, 1), batch_size=16, on_batch=on_batch
    )
    assert len(result.witnesses) > 80
    assert seen[160][0] <= seen[80][0]
    assert seen[160][1] <= seen[80][1] + 4096  # 80 images and witnesses have 40,960
