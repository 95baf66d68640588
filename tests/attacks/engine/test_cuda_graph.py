"""CUDA graphs of gradients: decisions that need no device, and the replay itself where there is one."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import APGD, PGD, Attack, Targeted
from harden.attacks.engine.cuda_graph import replayed, tensors_of
from harden.draws import Draws
from harden.losses import DLR, CrossEntropy, ExpectedLoss, FastCopyLoss, Margin
from harden.models import Classifier, PassMeter, counting, prepare
from harden.threats import L2, Linf, Threat

NO_DEVICE = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_on_a_cpu_nothing_is_captured(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    prepared = prepare(Classifier(network), images)

    def never(*_: object) -> tuple[object, Tensor]:
        raise AssertionError("called")

    assert replayed(CrossEntropy(prepared, labels), images, never) is None  # type: ignore[arg-type]
    assert prepared.replays == {}


def test_labels_and_targets_are_what_a_graph_is_given(labels: Tensor) -> None:
    def classify(x: Tensor) -> Tensor:
        return x

    target = (labels + 1) % 4
    assert list(tensors_of(Margin(classify, labels)) or ()) == ["y"]
    found = tensors_of(DLR(classify, labels).aimed(target))
    assert found is not None
    assert {name: value.tolist() for name, value in found.items()} == {
        "y": labels.tolist(),
        "target": target.tolist(),
    }
    assert tensors_of(ExpectedLoss(Margin(classify, labels), 3)) is None
    assert tensors_of(classify) is None


@pytest.mark.cuda
@NO_DEVICE
@pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2")], ids=repr)
@pytest.mark.parametrize(
    "attack",
    [PGD(9, stop_early=True), PGD(9), APGD(12, stop_early=True), Targeted(PGD(5, stop_early=True))],
    ids=repr,
)
def test_a_replay_finds_what_eager_steps_find(
    attack: Attack, threat: Threat, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model = Classifier(network).cuda()
    x, y, draws = images.cuda(), labels.cuda(), Draws(0, torch.arange(16).cuda())
    prepared = prepare(model, x)
    with counting(PassMeter()) as captured:
        found = attack(FastCopyLoss(Margin(prepared, y), Margin(prepared, y)), x, threat, draws)
    assert prepared.replays
    assert None not in prepared.replays.values()
    eager = prepare(model, x)
    with counting(PassMeter()) as meter:
        # Under a name of its own the copy is no Prepared, and nothing is captured.
        by_hand = FastCopyLoss(Margin(lambda x: eager(x), y), Margin(eager, y))
        expected = attack(by_hand, x, threat, draws)
    assert not eager.replays
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert captured.passes == pytest.approx(meter.passes)


@pytest.mark.cuda
@NO_DEVICE
def test_a_network_that_can_not_be_captured_is_told_once(
    images: Tensor, labels: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    class Waits(nn.Module):
        """Looks at its activations from Python: no graph can hold that."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(192, 4)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(x.flatten(1))
            return logits * (2.0 if float(logits.detach().sum()) > 1e9 else 1.0)

    model = Classifier(Waits()).cuda()
    x, y, draws = images.cuda(), labels.cuda(), Draws(0, torch.arange(16).cuda())
    prepared = prepare(model, x)
    with caplog.at_level(logging.WARNING, logger="harden"):
        for kind in (Margin, CrossEntropy):
            loss = FastCopyLoss(kind(prepared, y), kind(model.logits, y))
            found = PGD(steps=5, stop_early=True)(loss, x, Linf("8/255"), draws)
            assert bool(Linf("8/255").contains(found, x).all())
    assert len([record for record in caplog.records if "can't be captured" in record.message]) == 1
