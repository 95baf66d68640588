"""Capture of a module as a program: a free batch, nothing printed, and errors that name the cause."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.errors import ExportError
from harden.graph.exporting.torch_program import capture_program

EXAMPLE = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    """The number of images as Python's len gives it, and a line on the terminal."""

    def forward(self, x: Tensor) -> Tensor:
        print("in the forward")
        return x.reshape(len(x), -1) * 2


class Branching(nn.Module):
    """A branch on the images' values."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Numpy(nn.Module):
    """A result of numpy's, which no operator is."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.from_numpy(np.sort(x.detach().numpy())) + x.missing  # type: ignore[attr-defined]
        return found


def test_a_program_takes_any_batch_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    program = capture_program(Counted(), EXAMPLE)
    capsys.readouterr()  # what the forward itself prints in Python
    assert len(program.range_constraints) == 1
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(program.module()(x), x.flatten(1) * 2)


def test_a_branch_on_values_is_refused_with_what_to_write() -> None:
    with pytest.raises(ExportError) as caught:
        capture_program(Branching(), EXAMPLE)
    assert caught.value.seen.startswith("a network that torch.export can't trace (")
    assert caught.value.expected == "a forward without data-dependent control flow"
    assert caught.value.instead.startswith("use torch.where instead of if")
    assert "\n" not in str(caught.value)


def test_any_other_error_asks_for_operators_alone() -> None:
    with pytest.raises(ExportError, match="a forward of torch's operators alone") as caught:
        capture_program(Numpy(), EXAMPLE)
    assert "leave numpy, PIL and prints of values out of it" in caught.value.instead
    assert caught.value.__cause__ is not None


def test_a_lack_of_memory_is_not_the_network_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.export, "export", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        capture_program(Counted(), EXAMPLE)
