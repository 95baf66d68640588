"""NT-Xent against a double loop, and its limits."""

from __future__ import annotations

import math

import pytest
import torch

from harden.data import Batch
from harden.models import Classifier
from harden.objectives import SimCLR, Step
from harden.objectives.simclr import ProjectedState, nt_xent
from harden.views import Views
from tests.objectives.nt_xent_by_loop import naive_nt_xent


def test_nt_xent_does_not_depend_on_lengths_and_is_symmetric_in_the_views() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    value = nt_xent(first, second, 0.5)
    torch.testing.assert_close(nt_xent(3 * first, 0.1 * second, 0.5), value)
    torch.testing.assert_close(nt_xent(second, first, 0.5), value)
    # Pairing matters: with the partners mixed up the loss is another one.
    assert not torch.isclose(nt_xent(first, second.roll(1, 0), 0.5), value)


def test_nt_xent_of_equal_embeddings_is_the_logarithm_of_the_candidates() -> None:
    same = torch.ones(8, 3)
    assert float(nt_xent(same, same, 0.5)) == pytest.approx(math.log(15), rel=1e-6)


def test_nt_xent_stays_finite_at_a_small_temperature_and_at_a_zero_embedding() -> None:
    first, second = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    first[0] = 0
    first.requires_grad_()
    value = nt_xent(first, second, 0.001)
    torch.autograd.backward(value)
    assert bool(value.isfinite())
    assert first.grad is not None
    assert bool(first.grad.isfinite().all())


NO_VIEWS = Views()


NOISY = Views(shift=1, noise=0.05)


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.5), (5, 0.1), (7, 2.0)])
def test_nt_xent_and_its_gradient_are_those_of_the_double_loop(n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(n)
    first, second = (
        torch.randn(n, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    expected, value = naive_nt_xent(first, second, temperature), nt_xent(first, second, temperature)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(value, (first, second)),
        torch.autograd.grad(expected, (first, second)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
        assert theirs.abs().max() > 1e-3


def test_simclr_is_nt_xent_of_two_views_of_the_same_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = SimCLR(temperature=0.3, views=NOISY, hidden=6, width=5)
    state = objective.start(model.eval(), 1000).eval()
    assert isinstance(state, ProjectedState)
    value = objective(state, batch, step)
    generator = torch.Generator().manual_seed(4)
    first, second = (state.embed(NOISY(batch.x, generator)) for _ in range(2))
    assert not torch.equal(first, second)
    assert first.shape == (12, 5)
    torch.testing.assert_close(value, naive_nt_xent(first, second, 0.3))


def test_simclr_looks_at_no_label_and_trains_the_encoder_but_not_the_head(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = SimCLR(views=NO_VIEWS, hidden=6, width=5)
    state = objective.start(model, 1000).eval()
    value = objective(state, batch, step)
    other = objective(state, Batch(batch.x, 2 - batch.y, batch.index), step)
    assert torch.equal(value, other)
    torch.autograd.backward(value)
    head = list(model.head.parameters())
    assert all(weight.grad is None or not weight.grad.any() for weight in head)
    encoder = [weight for weight in model.parameters() if all(weight is not mine for mine in head)]
    assert len(encoder) == 6
    for weight in (*encoder, *state.get_submodule("projection").parameters()):
        assert weight.grad is not None
        assert bool(weight.grad.any())
