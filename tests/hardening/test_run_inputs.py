"""The inputs of a run: how many images are held out, and the batches of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from harden.data import Examples, Splits
from harden.hardening import Recipe, harden
from harden.hardening.run_inputs import RunInputs
from harden.objectives import SimCLR, Standard

MakeRun = Callable[..., RunInputs]


@pytest.mark.parametrize(
    ("share", "limit", "held_out"), [(0.1, 512, 10), (0.25, 512, 25), (0.5, 7, 7), (0.004, 512, 0)]
)
def test_held_out_images_are_a_share_up_to_a_limit(
    make_run: MakeRun, share: float, limit: int, held_out: int
) -> None:
    run = make_run(recipe=Recipe(Standard(), held_out=share, held_out_limit=limit))
    assert (run.held_out, run.trained_on) == (held_out, 100 - held_out)


def test_with_groups_the_number_is_that_of_the_run(make_run: MakeRun, few: Splits) -> None:
    """No group is divided: three of four groups have 9 images, so that no split has exactly a tenth."""
    groups = (torch.arange(100) // 9).clamp(max=3)
    train = replace(few.train, groups=groups)
    run = make_run(splits=Splits(train, few.test, "grouped"), seed=4)
    assert run.held_out in (9, 18)
    assert run.trained_on == 100 - run.held_out
    hardened = harden(
        run.model, run.source(), threat=run.settings.threat, recipe=run.recipe, budget="1epochs", seed=4
    )
    assert hardened.origin.stages[0].passes == pytest.approx(run.trained_on)


def test_batches_have_the_batch_size(make_run: MakeRun, few: Splits) -> None:
    run = make_run(batch_size=30)
    assert [len(batch.x) for batch in run.source().epoch(None)] == [30, 30, 30, 10]
    assert run.unlabelled_source() is None
    more = Examples(few.train.x[:50], torch.full((50,), -1), (), "more")
    source = replace(run, unlabelled=more, recipe=Recipe(pretrain=SimCLR())).unlabelled_source()
    assert source is not None
    batches = list(source.epoch(None))
    assert [len(batch.x) for batch in batches] == [30, 20]
    assert torch.equal(torch.cat([batch.x for batch in batches]), few.train.x[:50])
