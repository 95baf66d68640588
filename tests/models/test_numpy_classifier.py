"""Functions that know no torch, as classifiers and as losses: what is refused, attacks on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harden.artefact.parity.parity_gated_export import exported, judge_of
from harden.attacks import PGD, Attack, RayS, Square
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import Labels, Margin
from harden.models import Classifier, PassMeter, counting, from_numpy
from harden.threats import L1, L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

Array = NDArray[np.float32]
DRAWS = Draws(0, torch.arange(16))


def _scores(x: Array) -> Array:
    """Three scores of an image: its channels' sums, sharply."""
    found: Array = 3 * x.sum((2, 3)) + np.array([0.0, 1.0, -1.0], dtype=np.float32)
    return found


def test_a_function_gets_its_own_contiguous_float32_array_and_gives_float32_logits(images: Tensor) -> None:
    seen: list[Array] = []

    def function(x: Array) -> NDArray[np.float64]:
        seen.append(x)
        scores = _scores(x).astype(np.float64)
        x -= 0.5  # as a careless normalisation does
        return scores

    before = images.clone()
    for x in (images, images.flip(3).contiguous(memory_format=torch.channels_last), images.double()):
        kept = x.clone()
        found = from_numpy(function)(x.requires_grad_() if x is images else x)
        assert found.dtype == torch.float32
        assert not found.requires_grad
        np.testing.assert_allclose(found.numpy(), _scores(kept.detach().float().numpy()), rtol=1e-6)
        assert torch.equal(x.detach(), kept)
        assert seen[-1].dtype == np.float32
        assert seen[-1].flags["C_CONTIGUOUS"]
    assert torch.equal(images.detach(), before)


@pytest.mark.parametrize(
    "convert", [np.asarray, torch.from_numpy, np.ndarray.tolist], ids=lambda c: c.__name__
)
def test_answers_may_be_arrays_tensors_or_lists(convert: Callable[[Array], object], images: Tensor) -> None:
    found = from_numpy(lambda x: convert(_scores(x)))(images)
    assert torch.equal(found, torch.from_numpy(_scores(images.numpy())))
    y = found.argmax(1)
    labels = Labels(lambda x: convert(_scores(x).argmax(1)), y)
    assert labels(images).tolist() == [0.0] * 16
    other = Labels(lambda x: convert(_scores(x).argmax(1)), (y + (torch.arange(16) > 7)) % 3)
    value, wrong = other.judged(images)
    assert wrong.tolist() == [False] * 8 + [True] * 8
    assert torch.equal(value, wrong.float())
    assert other.take(torch.tensor([9, 2])).judged(images[[9, 2]])[1].tolist() == [True, False]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda x: x.sum((1, 2, 3)), "scores of shape (16,) for 16 images"),
        (lambda x: x.sum((2, 3))[:5], "scores of shape (5, 3) for 16 images"),
        (lambda x: x.sum((1, 2, 3))[:, None], "scores of shape (16, 1) for 16 images"),
        (lambda x: x, "scores of shape (16, 3, 8, 8) for 16 images"),
        (lambda x: None, "scores of shape () for 16 images"),
        (lambda x: (255 * x).sum((2, 3)).astype(np.int8), "scores of type int8"),
    ],
)
def test_scores_of_another_form_are_refused(
    answer: Callable[[Array], object], seen: str, images: Tensor
) -> None:
    with pytest.raises(InputError) as caught:
        from_numpy(answer)(images)
    assert caught.value.seen == seen


@pytest.mark.parametrize("threat", [Linf("1/10"), L2("1"), L1(6)], ids=repr)
@pytest.mark.parametrize("attack", [Square(queries=60), RayS(queries=60)], ids=["square", "rays"])
def test_a_function_is_attacked_as_the_network_is(attack: Attack, threat: Threat, images: Tensor) -> None:
    def network(x: Tensor) -> Tensor:
        return torch.from_numpy(_scores(x.numpy()))

    y = network(images).argmax(1)
    with counting(PassMeter()) as meter:
        found = attack(Margin(from_numpy(_scores), y), images, threat, DRAWS)
    assert meter.passes > 16 * 2 / 3
    assert torch.equal(found, attack(Margin(network, y), images, threat, DRAWS))
    assert bool(threat.contains(found, images).all())
    if not isinstance(attack, RayS) or not isinstance(threat, L1):
        assert int(Margin(network, y).judged(found)[1].sum()) > 0


def test_an_attack_that_needs_gradients_says_what_to_use(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match="use a gradient-free attack, as Square"):
        PGD()(Margin(from_numpy(_scores), labels % 3), images, Linf("1/10"), DRAWS)


def test_an_onnx_file_in_onnxruntime_is_attacked(images: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    model, threat = Classifier(network), Linf("1/10")
    with torch.no_grad():
        y = model.logits(images).argmax(1)
    _, session, _ = exported(model, images, y, threat)
    for classify in (judge_of(session), from_numpy(session)):
        loss = Margin(classify, y)
        broken = [
            int(loss.judged(attack(loss, images, threat, DRAWS))[1].sum())
            for attack in (Square(queries=150), RayS(queries=150))
        ]
        assert min(broken) >= 8
    labels = Labels(lambda x: session(x).argmax(1), y)
    by_labels = RayS(queries=150)(labels, images, threat, DRAWS)
    assert torch.equal(by_labels, RayS(queries=150)(loss, images, threat, DRAWS))
