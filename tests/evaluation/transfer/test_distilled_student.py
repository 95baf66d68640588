"""The student: it learns the judge's classes in the ball, for images of any size, and reproducibly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.draws import Draws
from harden.evaluation.transfer.distilled_student import Student
from harden.models import Classifier
from harden.threats import L1, L2, Linf, Threat
from tests.evaluation.transfer.scenes import THREAT, scene


@pytest.mark.parametrize("threat", [Linf("1/10"), L2("1/2"), L1(1)])
def test_a_student_takes_images_of_any_size(threat: Threat) -> None:
    for shape in ((3, 1, 1), (1, 5, 3), (2, 40, 33)):
        with torch.random.fork_rng(devices=[]):
            network = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 2))
        x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert Student(steps=2).network(scene(Classifier(network), x, threat)).logits(x).shape == (4, 2)


def test_a_student_learns_a_linear_judge_in_the_ball_and_is_reproducible() -> None:
    x = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    model.network.get_parameter("1.bias").data.zero_()
    with torch.no_grad():
        model.network.get_parameter("1.bias").sub_(model.logits(x).mean(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    student = Student(steps=60).network(scene(model, x))
    near = THREAT.start(x, Draws(9, torch.arange(32)))
    with torch.no_grad():
        classes = model.logits(near).argmax(1)
        assert set(classes.tolist()) == {0, 1, 2}
        assert float((student.logits(near).argmax(1) == classes).float().mean()) > 0.8
        again = Student(steps=60).network(scene(model, x))
        assert torch.equal(again.logits(near), student.logits(near))
    assert not any(weight.requires_grad for weight in student.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
