"""The state of attacking objectives: a fast copy that follows the weights, outside the checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from harden.data import Batch
from harden.models import Classifier, FastCopy
from harden.objectives.fast_copy_state import AttackedState, attacked_cross_entropy, attacked_state


def test_the_copy_follows_the_weights_and_is_no_part_of_a_checkpoint(model: Classifier, batch: Batch) -> None:
    state = AttackedState(model, FastCopy())
    for _ in range(2):
        with state.still(batch.x) as classify:
            assert not any(part.training for part in model.modules())
            torch.testing.assert_close(classify(batch.x), model.logits(batch.x), rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.2)
    assert state.state_dict().keys() == {f"classifier.{name}" for name in model.state_dict()}


def test_without_a_form_the_classifier_itself_is_attacked(model: Classifier, batch: Batch) -> None:
    state = AttackedState(model, None)
    with state.still(batch.x) as classify:
        assert classify == model.logits
    assert state.lay_out(batch.x) is batch.x


def test_the_loss_is_the_cross_entropy_of_each_image(model: Classifier, batch: Batch) -> None:
    model.eval()
    value = attacked_cross_entropy(model.logits, batch.y)(batch.x)
    assert torch.equal(value, functional.cross_entropy(model.logits(batch.x), batch.y, reduction="none"))


def test_another_state_is_refused(model: Classifier) -> None:
    state = AttackedState(model, None)
    assert attacked_state(state) is state
    with pytest.raises(TypeError, match="an AttackedState, and not a Identity"):
        attacked_state(nn.Identity())
