"""The largest batch that fits into memory, and the batch of a run that is continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.hardening.batch_size import out_of_memory, with_fitting_batch
from harden.hardening.run_inputs import RunInputs
from harden.models import Classifier

MakeRun = Callable[..., RunInputs]


class Narrow(nn.Module):
    """There is memory for so many images at a time while weights learn."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.head = room, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize(("room", "fits"), [(64, 64), (63, 32), (31, 16)])
def test_the_batch_is_halved_until_it_fits(make_run: MakeRun, room: int, fits: int) -> None:
    model = Classifier(Narrow(room))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = make_run(model=model, batch_size=64)
    assert with_fitting_batch(run, None).batch_size == fits
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_memory_for_no_two_images_is_an_error(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match="batches of two images"):
        with_fitting_batch(make_run(model=Classifier(Narrow(1)), batch_size=4), None)


def test_the_error_names_a_batch_that_fits(make_run: MakeRun) -> None:
    error = out_of_memory(make_run(model=Classifier(Narrow(20)), batch_size=32), 32)
    assert error.seen.startswith("batches of 32 images")
    assert error.expected == "a batch that fits: 16 images do"
    assert "--batch-size 16, or --auto-batch" in error.instead


def test_memory_that_training_does_not_lack_is_lacked_by_the_evaluation(make_run: MakeRun) -> None:
    error = out_of_memory(make_run(model=Classifier(Narrow(20)), batch_size=16), 16)
    assert "training has room for its 16 images" in error.seen
    assert "--auto-batch --resume" in error.instead


@pytest.mark.parametrize("ended", [False, True], ids=["unfinished", "finished"])
def test_a_run_that_goes_on_keeps_its_batch_whatever_fits_today(
    make_run: MakeRun, tmp_path: Path, ended: bool
) -> None:
    folder = tmp_path / ("checkpoint" if ended else "progress")
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps({"data": {"batch_size": 16}}))
    run = make_run(batch_size=32)
    assert with_fitting_batch(run, tmp_path / "progress").batch_size == 16
    assert with_fitting_batch(run, None).batch_size == 32


@pytest.mark.parametrize("size", [0, -4, "16", None], ids=str)
def test_a_stored_size_that_is_none_is_not_used(make_run: MakeRun, tmp_path: Path, size: object) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "plan.json").write_text(json.dumps({"data": {"batch_size": size}}))
    assert with_fitting_batch(make_run(batch_size=32), tmp_path / "progress").batch_size == 32
