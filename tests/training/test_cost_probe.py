"""Measurement of a stage: the largest batch that fits, and the cost of a step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harden.data import Examples
from harden.data.sources.in_memory import ExamplesSource
from harden.errors import InputError
from harden.models import Classifier
from harden.models.out_of_memory import ran_out_of_memory
from harden.objectives import AWP, TRADES, SimCLR, Standard
from harden.threats import Linf
from harden.training import Budget, Stage
from harden.training.cost_probe import largest_fitting, measure_speed, peak_memory
from harden.views import DIGITS

THREAT = Linf("1/10")
PLAIN = Stage("finetune", Standard(), Budget(10.0, "epochs"))
CONTRASTIVE = Stage("pretrain", SimCLR(views=DIGITS), Budget(10.0, "E"), average=0.0)


class Narrow(nn.Module):
    """A network whose device has room for `limit` images at a time, in training."""

    def __init__(self, limit: int, error: Exception | None = None) -> None:
        super().__init__()
        self.limit, self.error = limit, error or torch.OutOfMemoryError("CUDA out of memory. Tried to ...")
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.limit:
            raise self.error
        logits: Tensor = self.head(self.norm(x.flatten(1)))
        return logits


def source(batch_size: int, n: int = 100) -> ExamplesSource:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 4, 4, generator=generator)
    return ExamplesSource(Examples(x, torch.arange(n) % 2, ("a", "b")), batch_size)


@pytest.mark.parametrize(
    ("batch", "limit", "fits"),
    [(64, 64, 64), (64, 63, 32), (64, 5, 4), (50, 24, 12), (512, 100, 512), (512, 90, 64), (4, 2, 2)],
)
def test_the_largest_half_that_fits_is_found(batch: int, limit: int, fits: int) -> None:
    assert largest_fitting([PLAIN], Classifier(Narrow(limit)), source(batch), THREAT) == fits


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_memory_of_the_processor_counts_too(error: Exception) -> None:
    assert ran_out_of_memory(error)
    assert largest_fitting([PLAIN], Classifier(Narrow(20, error)), source(64), THREAT) == 16


def test_the_stage_that_needs_most_decides() -> None:
    """A contrastive stage sends two views of each image through the network at once."""
    model = Classifier(Narrow(32))
    assert largest_fitting([PLAIN], model, source(32), THREAT) == 32
    assert largest_fitting([CONTRASTIVE, PLAIN], model, source(32), THREAT) == 16


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ran_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shapes"):
        largest_fitting([PLAIN], Classifier(Narrow(8, RuntimeError("shapes"))), source(32), THREAT)


def test_a_network_for_which_nothing_fits_is_refused() -> None:
    with pytest.raises(InputError, match="batches of two images, which do not fit"):
        largest_fitting([PLAIN], Classifier(Narrow(1)), source(32), THREAT)


def test_looking_leaves_the_model_as_it_was() -> None:
    model = Classifier(Narrow(16)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    largest_fitting([PLAIN], model, source(32), THREAT)
    measure_speed(PLAIN, model, source(8), THREAT)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert not any(part.training for part in model.modules())
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_pace_counts_what_the_objective_spends() -> None:
    model = Classifier(Narrow(1000))
    assert measure_speed(PLAIN, model, source(8), THREAT).passes_per_image == pytest.approx(1.0)
    trades = measure_speed(replace(PLAIN, objective=TRADES()), model, source(8), THREAT)
    assert trades.passes_per_image == pytest.approx(4 + 1 / 3)
    # A stage begins with steps that perturb no weights; the later ones cost more.
    perturbed = measure_speed(replace(PLAIN, objective=AWP(TRADES())), model, source(8), THREAT)
    assert perturbed.passes_per_image == pytest.approx(4 + 1 / 3 + 2 + 1 / 3)
    assert trades.passes > 0
    assert 1 << 20 < trades.memory <= peak_memory(torch.device("cpu"))
    # E may be counted in other images than those of the source.
    counted = measure_speed(replace(PLAIN, images=10), model, source(8), THREAT)
    assert counted.passes_per_image == pytest.approx(1.0)


def test_one_batch_alone_is_measured_whole() -> None:
    stage = replace(PLAIN, budget=Budget(1.0, "epochs"))
    assert measure_speed(
        stage, Classifier(Narrow(1000)), source(100), THREAT
    ).passes_per_image == pytest.approx(1.0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_that_is_too_small_is_noticed() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            # A terabyte for each image above eight.
            room = torch.empty(max(len(x) - 8, 0) << 38, device=x.device)
            logits: Tensor = self.head(x.flatten(1))
            return logits + 0 * room.numel()

    model = Classifier(Greedy()).to("cuda")
    assert largest_fitting([PLAIN], model, source(64), THREAT) == 8
    assert measure_speed(PLAIN, model, source(8), THREAT).memory > 0
