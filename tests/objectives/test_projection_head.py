"""The projection head: its layers, the width that it reads, and limits of contrastive objectives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.errors import InputError
from harden.models import Classifier
from harden.objectives.projection_head import Projection, check_contrast, feature_width


def test_embeddings_are_those_of_two_layers_with_a_norm_between() -> None:
    head = Projection(5, 7, 3).eval()
    features = torch.rand(4, 5)
    weights = dict(head.named_parameters())
    hidden = (features @ weights["layers.0.weight"].T / (1 + 1e-5) ** 0.5).relu()
    expected = hidden @ weights["layers.3.weight"].T + weights["layers.3.bias"]
    torch.testing.assert_close(head(features), expected)
    assert "layers.0.bias" not in weights


def test_the_width_is_that_of_a_linear_head(model: Classifier) -> None:
    assert feature_width(model) == 8
    other = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Softmax(1)), head="2")
    with pytest.raises(InputError, match="for a linear probe"):
        feature_width(other, "a linear probe")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_is_positive_and_finite(temperature: float) -> None:
    with pytest.raises(InputError, match="a positive number"):
        check_contrast(temperature, 4, 4)


def test_widths_are_at_least_one() -> None:
    check_contrast(0.5, 1, 1)
    for hidden, width in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="at least 1 each"):
            check_contrast(0.5, hidden, width)
