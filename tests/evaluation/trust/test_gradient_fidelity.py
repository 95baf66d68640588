"""What a gradient explains of the logits, against functions whose integral is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Splits
from harden.evaluation.trust.gradient_fidelity import LINES, POINTS, margin_lines, repeated_logits
from harden.models import Classifier

pytestmark = pytest.mark.usefixtures("rng_untouched")

WEIGHT = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def linear(x: Tensor) -> Tensor:
    return x.flatten(1) @ WEIGHT.T


def cubic(x: Tensor) -> Tensor:
    return linear(x) ** 3


def hard(x: Tensor) -> Tensor:
    return functional.one_hot(linear(x).argmax(1), 5).float()


MASKED: dict[str, Callable[[Tensor], Tensor]] = {
    "one-hot": lambda x: 10 * hard(x) + 0.01 * linear(x),
    "one-hot, large shortcut": lambda x: 10 * hard(x) + linear(x).tanh(),
    "one-hot, wrong shortcut": lambda x: 10 * hard(x) - 0.1 * linear(x),
    "rounded": lambda x: (4 * linear(x)).round() / 4 + 0.01 * linear(x),
    "ranks": lambda x: linear(x).argsort(1).argsort(1) + 0.01 * linear(x),
    "reversed": lambda x: 2 * linear(x).detach() - linear(x),
    "not a number": lambda x: linear(x) + (linear(x) - linear(x)).sqrt(),
    "saw": lambda x: linear(x) + 0.1 * (50 * linear(x) - (50 * linear(x)).floor()),
    "no path": lambda x: linear(x.detach()),
}


def test_the_gradient_of_a_smooth_function_adds_up_to_its_change() -> None:
    for function in (linear, cubic):
        with torch.no_grad():
            z = function(IMAGES)
        seen = margin_lines(function, IMAGES, z)
        assert len(seen) == LINES
        assert seen.margin.shape == (LINES, POINTS + 2)
        # From the class at the start to the class at the end the margin changes its sign.
        assert bool((seen.margin[:, 0] < 0).all())
        assert bool((seen.margin[:, -1] > 0).all())
        rise = seen.margin[:, -1] - seen.margin[:, 0]
        torch.testing.assert_close(seen.slope.mean(1), rise, rtol=0.02, atol=1e-4)
        assert not bool(seen.unexplained().any())
        assert not bool(seen.stepped().any())


@pytest.mark.parametrize("name", MASKED)
def test_what_hides_the_gradient_is_not_explained_by_it(name: str) -> None:
    function = MASKED[name]
    with torch.no_grad():
        z = function(IMAGES)
    seen = margin_lines(function, IMAGES, z)
    assert float(seen.unexplained().double().mean()) > 0.9
    assert bool(seen.stepped().all()) or not name.startswith("one-hot")


def test_networks_that_hide_nothing_are_explained(
    plain: Classifier, hardened: Classifier, digits: Splits
) -> None:
    x = digits.test.x[:64]
    for model in (plain, hardened):
        for classify in (model.logits, lambda x, model=model: model.logits(x).softmax(1).log()):
            with torch.no_grad():
                z = classify(x)
            seen = margin_lines(classify, x, z)
            assert int(seen.unexplained().sum()) == int(seen.stepped().sum()) == 0
        assert repeated_logits(x, z)[0] <= 1


def test_one_class_or_one_image_leaves_no_line() -> None:
    for x in (IMAGES[:1], IMAGES[:0]):
        assert len(margin_lines(linear, x, linear(x))) == 0
    same = torch.tensor([1.0, 0, 0, 0, 0]).expand(40, 5)
    assert len(margin_lines(linear, IMAGES, same)) == 0


def test_logits_that_repeat_are_counted_and_images_that_repeat_are_not() -> None:
    assert repeated_logits(IMAGES, linear(IMAGES)) == (0, 40)
    classes = len(torch.unique(linear(IMAGES).argmax(1)))
    assert repeated_logits(IMAGES, hard(IMAGES)) == (40 - classes, 40)
    # A shortcut of less than a thousandth does not hide it.
    assert repeated_logits(IMAGES, 10 * hard(IMAGES) + 1e-4 * linear(IMAGES))[0] == 40 - classes
    twice = torch.cat([IMAGES[:20], IMAGES[:20]])
    assert repeated_logits(twice, linear(twice)) == (0, 20)
    assert repeated_logits(IMAGES[:3], hard(IMAGES[:3]))[0] == 0  # too few
    assert repeated_logits(IMAGES, torch.full((40, 5), torch.nan))[0] == 0


def test_the_network_is_left_as_it_is(network: nn.Module, images: Tensor) -> None:
    model = Classifier(network.eval())
    before = [weight.clone() for weight in model.parameters()]
    with torch.no_grad():
        z = model.logits(images)
    with torch.inference_mode():
        margin_lines(model.logits, images, z)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())
