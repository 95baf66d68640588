"""The difference of logits ratio as a loss: value, verdict, gradient, targeted form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses import DLR, TargetedDLR, targeted_dlr

pytestmark = pytest.mark.usefixtures("rng_untouched")


def _random(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_ratio_of_too_few_classes_is_refused_and_the_margin_named() -> None:
    with pytest.raises(InputError, match="3 classes") as caught:
        DLR(lambda x: x, torch.zeros(2, dtype=torch.int64))(torch.zeros(2, 2))
    assert "Margin" in caught.value.instead
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InputError, match="4 classes"):
        TargetedDLR(lambda x: x, labels, labels).judged(torch.zeros(2, 3))


def test_value_verdict_and_gradient_are_those_of_the_formula() -> None:
    logits, y = _random(12, 5).float(), torch.arange(12) % 5
    z = logits.clone().requires_grad_()
    own = z.gather(1, y[:, None]).squeeze(1)
    others = z.scatter(1, y[:, None], -torch.inf).amax(1)
    ordered = z.sort(1, descending=True).values
    expected = (others - own) / (ordered[:, 0] - ordered[:, 2] + 1e-12)
    (gradient,) = torch.autograd.grad(expected.sum(), z)

    loss = DLR(lambda x: x, y)
    value, wrong = loss.judged(logits)
    out = loss.graded(logits)
    for found in (loss(logits), value, out.loss):
        torch.testing.assert_close(found, expected.detach())
    for verdict in (wrong, out.wrong):
        assert torch.equal(verdict, logits.argmax(1) != y)
    torch.testing.assert_close(out.dlogits, gradient)


def test_neither_value_nor_direction_depends_on_the_scale() -> None:
    logits, y = _random(6, 4).float(), torch.arange(6) % 4
    loss = DLR(lambda x: x, y)
    small, large = loss.graded(logits), loss.graded(64.0 * logits)
    torch.testing.assert_close(large.loss, small.loss)
    torch.testing.assert_close(64.0 * large.dlogits, small.dlogits)


def test_examples_are_taken_with_their_labels_and_targets() -> None:
    logits, y = _random(6, 5), torch.arange(6) % 5
    loss, index = DLR(lambda x: x, y), torch.tensor([4, 1])
    assert torch.equal(loss.take(index)(logits[index]), loss(logits)[index])
    aimed = loss.aimed((y + 2) % 5)
    assert torch.equal(aimed.target, (y + 2) % 5)
    assert torch.equal(aimed(logits), targeted_dlr(logits, y, (y + 2) % 5))
