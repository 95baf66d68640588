"""Results of an attack are projected, checked and judged: nothing that it returns is taken as it is."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor

from harden.attacks import Attack
from harden.data import Batch
from harden.draws import Draws
from harden.evaluation import Attempt
from harden.evaluation.attack_and_judge import attack_and_judge
from harden.evaluation.fast_copy_cache import GradientSource
from harden.losses import DLR, LossFunction, Margin
from harden.models import Classifier
from harden.threats import Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("1/8")


class Returns:
    """An attack that adds a number to each image, whatever the ball is."""

    def __init__(self, *change: float) -> None:
        self.change = change

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x + torch.tensor(self.change).view(-1, 1, 1, 1)


def grey(*values: float) -> Batch:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return Batch(x, (x.flatten(1).mean(1) > 0.5).long(), torch.arange(len(values)))


def made(
    attack: Attack, model: Classifier, batch: Batch, source: GradientSource | None = None
) -> tuple[Tensor, Tensor, int]:
    attempt = Attempt("one", attack, Margin)
    return attack_and_judge(
        attempt, source or GradientSource(model, model.logits), THREAT, batch, Draws(0, batch.index)
    )


def test_what_is_far_outside_is_projected_before_it_counts(line: Classifier) -> None:
    """From 0.25 no image within 1/8 is bright; from 0.45 one is."""
    batch = grey(0.25, 0.45, 0.75)
    x_adv, prediction, outside = made(Returns(9.0, 9.0, -9.0), line, batch)
    assert prediction.tolist() == [0, 1, 1]
    assert outside == 0
    assert bool(THREAT.contains(x_adv, batch.x).all())
    torch.testing.assert_close(x_adv[:, 0, 0, 0], torch.tensor([0.375, 0.575, 0.625]))


def test_what_is_no_number_is_put_back_and_breaks_nothing(line: Classifier) -> None:
    batch = grey(0.45, 0.45, 0.55)
    x_adv, prediction, outside = made(Returns(math.nan, 0.1, math.nan), line, batch)
    assert prediction.tolist() == [0, 1, 1]
    assert outside == 0
    assert bool(THREAT.contains(x_adv, batch.x).all())


def test_what_is_outside_after_projection_is_counted_and_breaks_nothing(line: Classifier) -> None:
    """A threat of a user's whose projection does not reach its own ball."""

    class Loose:
        eps, bounds, name = THREAT.eps, THREAT.bounds, THREAT.name
        contains = staticmethod(THREAT.contains)

        def project_(self, x_adv: Tensor, x: Tensor) -> None:
            """Do nothing."""

    batch = grey(0.45, 0.45, 0.55)
    attempt = Attempt("one", Returns(9.0, 0.1, -9.0), Margin)
    source, threat = GradientSource(line, line.logits), cast(Threat, Loose())
    _, prediction, outside = attack_and_judge(attempt, source, threat, batch, Draws(0, batch.index))
    assert prediction.tolist() == [0, 1, 1]
    assert outside == 2


def test_an_image_that_did_not_move_keeps_its_verdict_unseen(line: Classifier) -> None:
    batch, seen = grey(0.45, 0.45, 0.55), list[Tensor]()

    def contrary(x: Tensor) -> Tensor:
        seen.append(x)
        return -line.logits(x)

    source = GradientSource(line, contrary)
    _, prediction, outside = made(Returns(0.0, 0.01, 0.0), line, batch, source)
    assert prediction.tolist() == [0, 1, 1]
    assert outside == 0
    (judged,) = seen
    torch.testing.assert_close(judged, batch.x[1:2] + 0.01)
    seen.clear()
    assert made(Returns(0.0, 0.0, 0.0), line, batch, source)[1].tolist() == batch.y.tolist()
    assert seen == []


def test_an_image_outside_the_box_that_is_put_back_did_not_move(line: Classifier) -> None:
    batch = grey(0.0, 1.0)
    x_adv, prediction, _ = made(Returns(-5.0, 5.0), line, batch)
    assert torch.equal(x_adv, batch.x)
    assert torch.equal(prediction, batch.y)


def test_one_pixel_is_a_move(line: Classifier) -> None:
    batch = grey(0.5)
    assert batch.y.tolist() == [0]

    def one_pixel(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        moved = x.clone()
        moved[:, :, 1, 1] += 0.0625
        return moved

    assert made(one_pixel, line, batch)[1].tolist() == [1]


def test_an_attack_that_writes_to_its_images_moves_no_ball(line: Classifier) -> None:
    batch = grey(0.25, 0.75)
    x, y = batch.x.clone(), batch.y.clone()

    def in_place(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x.mul_(0).add_(0.5)

    x_adv, prediction, _ = made(in_place, line, batch)
    assert torch.equal(batch.x, x)
    assert torch.equal(batch.y, y)
    assert prediction.tolist() == [0, 1]
    assert bool(THREAT.contains(x_adv, x).all())


def test_results_are_contiguous_float32_without_gradient(line: Classifier) -> None:
    batch = grey(0.25, 0.75)

    def other_kind(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        found = x.double().transpose(2, 3).requires_grad_()
        return found + 0.01

    x_adv, prediction, _ = made(other_kind, line, batch)
    assert x_adv.dtype == torch.float32
    assert x_adv.is_contiguous()
    assert not x_adv.requires_grad
    assert (prediction.dtype, prediction.shape) == (torch.int64, (2,))


def test_the_attack_gets_the_attempt_as_it_is_executed(line: Classifier) -> None:
    """Of two classes DLR is not defined: the margin takes its place."""
    source, batch, seen = GradientSource(line, line.logits), grey(0.25, 0.75), list[LossFunction]()
    source.inspect(line.logits(batch.x).detach())

    def kept(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        seen.append(loss)
        assert threat == THREAT
        assert torch.equal(draws.ids, batch.index)
        return x

    attack_and_judge(Attempt("dlr", kept, DLR), source, THREAT, batch, Draws(0, batch.index))
    value = seen[0](batch.x).detach()
    # The margin of z = (0, sum x - 2): z_other - z_y.
    torch.testing.assert_close(value, torch.tensor([-1.0, -1.0]))
