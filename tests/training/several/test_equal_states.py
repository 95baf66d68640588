"""A layer that keeps what its process saw is found after a step, by name and in every process."""

from __future__ import annotations

import torch
from torch import nn

from harden.system.ranks import ALONE
from harden.training.several.equal_states import check_equal_states
from tests.processes import ended, started

PROGRAM = """
import sys, torch
from torch import nn
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives import Standard
from harden.training import SGD, Budget, Stage, train
from tests.training.several.cases import THREAT, images

class Seen(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.mean.copy_(x.detach().mean())
        return x - self.mean

torch.manual_seed(0)
model = Classifier(nn.Sequential(Seen(), nn.Flatten(), nn.Linear(64, 3)))
stage = Stage("one", Standard(), Budget.parse("1epochs"), optimiser=SGD(0.1))
try:
    next(train(stage, model, images(32, 16), THREAT))
except InputError as error:
    sys.stdout.write(str(error))
"""


def test_a_layer_that_keeps_what_its_process_saw_is_refused() -> None:
    for code, said, wrong in ended(started(["-c", PROGRAM], 2)):
        assert (code, wrong) == (0, "")
        assert said.startswith("classifier.network.0.mean, which after a step is another tensor in process 1")
        assert said.endswith("; train it in one process")


def test_one_process_is_not_checked() -> None:
    state = nn.Linear(1, 1)
    nn.init.constant_(state.weight, torch.nan)
    check_equal_states(state, ALONE)
