"""Numbers that no objective can mean are refused when the value is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harden.attacks import FGSM
from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives import TRADES, LinearProbe, MoCo, SimCLR, Standard, Step
from harden.threats import Linf
from harden.training import Budget, Stage


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TRADES(beta=-1.0), "beta -1.0"),
        (lambda: TRADES(beta=float("nan")), "beta nan"),
        (lambda: TRADES(attack=FGSM()), "random_start=False"),
        (lambda: SimCLR(temperature=0.0), "temperature 0.0"),
        (lambda: SimCLR(width=0), "widths 256 and 0"),
        (lambda: MoCo(temperature=float("inf")), "temperature inf"),
        (lambda: MoCo(queue=0), "queue of 0"),
        (lambda: MoCo(momentum=1.0), "momentum of 1.0"),
        (lambda: Stage("s", Standard(), Budget(1, "E"), clip=0.0), "clip of 0.0"),
        (lambda: Stage("s", Standard(), Budget(1, "E"), validations=-1), "-1 validations"),
    ],
)
def test_is_refused_in_three_parts(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.expected
    assert caught.value.instead.startswith("write ")


def test_the_probe_trains_the_head_of_a_network_in_half_precision() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).bfloat16()
    state = LinearProbe().start(Classifier(network), 4)
    batch = Batch(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    loss = LinearProbe()(state, batch, Step(0, 0.0, Linf(0), 0, torch.Generator()))
    torch.autograd.backward(loss)
    assert loss.dtype == torch.float32
    assert network[3].weight.grad is not None
    assert network[1].weight.grad is None


def test_the_probe_wants_a_linear_head() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with pytest.raises(InputError, match=r"a Conv2d; expected an nn\.Linear for a linear probe; name it"):
        LinearProbe().start(Classifier(network), 10)


def test_the_probe_reads_one_logit_as_two_classes_and_wants_the_head_last(step: Step) -> None:
    batch = Batch(torch.rand(4, 1, 2, 2), torch.arange(4) % 2, torch.arange(4))
    probe = LinearProbe()
    single = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)))
    expected = nn.functional.cross_entropy(single.logits(batch.x), batch.y)
    assert torch.allclose(probe(probe.start(single, 4), batch, step), expected)

    class Negated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = -self.head(x.flatten(1))
            return logits

    with pytest.raises(InputError, match="whose answer is not the network's; expected a head that nothing"):
        probe(probe.start(Classifier(Negated()), 4), batch, step)
