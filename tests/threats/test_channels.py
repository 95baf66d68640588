"""A budget for each channel: the plain ball where all are one, exact in each where they are not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.attacks import APGD, PGD, RandomNoise, Square
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import evaluate, standard
from harden.losses import CrossEntropy, Margin
from harden.models import Classifier
from harden.threats import ChannelLinf, Linf

BUDGETS = ("8/255", "2/255", 0)
EPS = tuple(Fraction(eps) for eps in BUDGETS)


def draws(n: int) -> Draws:
    return Draws(0, torch.arange(n))


def is_inside(x_adv: Tensor, x: Tensor, eps: tuple[Fraction, ...] = EPS) -> bool:
    pairs = zip(x_adv.transpose(0, 1).flatten(1), x.transpose(0, 1).flatten(1), eps, strict=True)
    return all(
        abs(Fraction(a) - Fraction(b)) <= limit and 0 <= a <= 1
        for one, clean, limit in pairs
        for a, b in zip(one.tolist(), clean.tolist(), strict=True)
    )


@given(seed=st.integers(0, 1000), step=st.floats(0, 1))
def test_steps_end_inside_and_projecting_again_changes_nothing(seed: int, step: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, grad = torch.rand(3, 3, 2, 2, generator=generator), torch.randn(3, 3, 2, 2, generator=generator)
    threat, x_adv = ChannelLinf(BUDGETS), torch.rand(3, 3, 2, 2, generator=generator)
    threat.step_(x_adv, x, grad, torch.tensor([step]))
    assert is_inside(x_adv, x)
    assert bool(threat.contains(x_adv, x).all())
    again = x_adv.clone()
    threat.project_(again, x)
    assert torch.equal(again, x_adv)
    threat.momentum_step_(x_adv, again, x, grad, torch.full((3,), step), 0.75)
    assert is_inside(x_adv, x)


def test_with_one_budget_it_is_the_plain_ball(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    model = Classifier(network.eval())
    loss = Margin(model.logits, labels)
    same, plain = ChannelLinf(["8/255"] * 3), Linf("8/255")
    for attack in (PGD(steps=4), APGD(steps=6), Square(queries=20), RandomNoise(4)):
        one, other = (attack(loss, images, threat, draws(16)) for threat in (same, plain))
        assert torch.equal(one, other)
    torch.testing.assert_close(same.size(images - 0.5), plain.size(images - 0.5))


def test_membership_is_exact_in_each_channel() -> None:
    x = torch.full((1, 3, 1, 1), 0.5)
    threat = ChannelLinf(BUDGETS)
    for channel, eps in enumerate(EPS):
        x_adv = x.clone()
        x_adv[0, channel] += float(eps)
        threat.project_(x_adv, x)
        assert bool(threat.contains(x_adv, x))
        x_adv[0, channel] = torch.nextafter(x_adv[0, channel] + float(eps) / 8 + 1e-6, torch.tensor(2.0))
        assert not bool(threat.contains(x_adv, x))


def test_its_size_is_the_smallest_scale_that_holds_a_change() -> None:
    threat = ChannelLinf(BUDGETS)
    delta = torch.zeros(3, 3, 2, 2)
    delta[0, 0], delta[1, 1] = 4 / 255, -1 / 255
    delta[2, 2, 0, 0] = 1e-9
    half = float(threat.eps) / 2
    assert threat.size(delta).tolist() == pytest.approx([half, half, float("inf")])
    assert threat.scaled(2).channels == (Fraction(16, 255), Fraction(4, 255), Fraction(0))
    assert threat.scaled(10**6).channels == (Fraction(1), Fraction(1), Fraction(0))
    assert threat.scaled(0).eps == 0


def test_a_step_is_as_long_in_a_channel_as_its_budget() -> None:
    x = torch.full((1, 3, 1, 1), 0.5)
    x_adv = x.clone()
    ChannelLinf(BUDGETS).step_(x_adv, x, torch.ones_like(x), torch.tensor([4 / 255]))
    assert (x_adv - x).flatten().tolist() == pytest.approx([4 / 255, 1 / 255, 0.0], abs=1e-7)


def test_a_suite_evaluates_under_it_and_says_what_it_leaves_out(
    network: nn.Module, images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    model = Classifier(network.eval())
    y = model.logits(images).argmax(1)
    threat = ChannelLinf(("8/255", "2/255", "1/255"))
    short = tuple(attempt for attempt in standard() if attempt.name != "square")
    found = evaluate(model, (images, y), threat, short)
    assert [record.name for record in found.attempts][:2] == ["apgd-ce", "apgd-t"]
    assert "fab-t" not in {record.name for record in found.attempts}
    assert "fab-t is left out" in caplog.text
    assert int(found.broken.sum()) > 0
    larger = evaluate(model, (images, y), Linf("8/255"), short)
    assert int(larger.broken.sum()) >= int(found.broken.sum())
    witnesses = found.witnesses
    assert is_inside(witnesses.witness, witnesses.original, threat.channels)


def test_no_certificate_is_issued_for_it(network: nn.Module, images: Tensor, tmp_path: Path) -> None:
    claim = Claim(ChannelLinf(BUDGETS))
    with pytest.raises(InputError, match="one eps"):
        export(Classifier(network), tmp_path / "out", (images, torch.zeros(16).long()), claim)
    assert not (tmp_path / "out").exists()


def test_what_it_refuses(images: Tensor) -> None:
    for budgets in ((), "8/255", ("8/255", -1, 0), (2.0, 0, 0), ("x", 0, 0), (float("nan"), 0, 0)):
        with pytest.raises(InputError):
            ChannelLinf(budgets)
    loss = CrossEntropy(lambda x: x.flatten(1)[:, :4], torch.zeros(16).long())
    with pytest.raises(InputError, match="as many budgets"):
        PGD(steps=1)(loss, images, ChannelLinf(("8/255", "8/255")), draws(16))


def test_it_is_written_as_it_is_made() -> None:
    for threat in (ChannelLinf(BUDGETS), ChannelLinf(["1/10"]), ChannelLinf((1, 2), (-1.0, 1.0))):
        assert eval(repr(threat), {"ChannelLinf": ChannelLinf}) == threat
