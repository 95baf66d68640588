"""Copies of examples: equal in both backends, nothing else touched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels import steps_reference
from tests.kernels.drawing import LAYOUTS, SHAPES, bits, copied, laid_out


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Draws target, source and where; any bits of float32, any layout."""
    shape = draw(SHAPES)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def tensor() -> Tensor:
        drawn = generator.integers(-(2**31), 2**31, shape, dtype=np.int32)
        return laid_out(torch.from_numpy(drawn).view(torch.float32), draw(LAYOUTS))

    where = torch.from_numpy(draw(npst.arrays(np.bool_, shape[:1])))
    doubled = torch.stack([where, ~where], dim=-1)[:, 0]
    return tensor(), tensor(), draw(st.sampled_from([where, doubled]))


@pytest.mark.parametrize("backend", ["door", "torch"])
@settings(max_examples=300)
@given(case=cases())
def test_rows_are_copied_bit_for_bit_and_no_other(backend: str, case: tuple[Tensor, Tensor, Tensor]) -> None:
    target, source, where = case
    result = copied(target)
    (kernels.copy_rows_ if backend == "door" else steps_reference.copy_rows_)(result, source, where)
    for row, before, other, chosen in zip(result, target, source, where.tolist(), strict=True):
        assert torch.equal(bits(row), bits(other if chosen else before))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_compiled_operation_runs_where_both_have_one_layout(layout: torch.memory_format) -> None:
    target = torch.zeros(4, 3, 5, 5).contiguous(memory_format=layout)
    source = torch.ones_like(target)
    with torch.profiler.profile() as profile:
        kernels.copy_rows_(target, source, torch.tensor([True, False, True, False]))
    ran = {event.name for event in profile.events() or ()}
    assert "harden::copy_rows_" in ran
    assert not {"aten::copy_", "aten::where"} & ran
    assert target.sum((1, 2, 3)).tolist() == [75.0, 0.0, 75.0, 0.0]


def test_threads_do_not_change_a_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    source, where = torch.randn(64, 3, 32, 32, generator=generator), torch.arange(64) % 3 == 0
    results: list[Tensor] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            target = torch.zeros_like(source)
            kernels.copy_rows_(target, source, where)
            results.append(target)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], torch.where(where.view(-1, 1, 1, 1), source, 0.0))


def test_a_changed_saved_tensor_is_noticed() -> None:
    target = torch.rand(2, 3).requires_grad_()
    squared = (target * target).sum()
    kernels.copy_rows_(target, torch.ones(2, 3), torch.tensor([True, False]))
    assert target.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(squared, target)


def test_inference_tensors_are_written() -> None:
    with torch.inference_mode():
        target = torch.zeros(2, 1)
        kernels.copy_rows_(target, torch.full((2, 1), math.nan), torch.tensor([False, True]))
    assert target[0].item() == 0.0
    assert math.isnan(target[1].item())


X, WHERE = torch.zeros(2, 3, 4, 4), torch.tensor([True, False])
REFUSED: dict[str, tuple[Tensor, Tensor, Tensor]] = {
    "target is float64": (X.double(), X.clone(), WHERE),
    "source is bfloat16": (X.clone(), X.bfloat16(), WHERE),
    "source has another shape": (X.clone(), X[:, :1].clone(), WHERE),
    "where has another shape": (X.clone(), X.clone(), WHERE[:1]),
    "where is not bool": (X.clone(), X.clone(), WHERE.float()),
    "no axis for examples": (torch.tensor(0.0), torch.tensor(0.0), WHERE),
    "source on another device": (X.clone(), X.to("meta"), WHERE),
    "where on another device": (X.clone(), X.clone(), WHERE.to("meta")),
    "one memory": (X, X, WHERE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_in_three_parts(case: str) -> None:
    with pytest.raises(InputError) as caught:
        kernels.copy_rows_(*REFUSED[case])
    assert caught.value.seen
    assert caught.value.expected
    assert caught.value.instead


RAW: dict[str, tuple[Tensor, Tensor, Tensor]] = {
    "two layouts": (X.clone(), X.clone(memory_format=torch.channels_last), WHERE),
    "not dense": (X.clone()[..., :2], X.clone()[..., :2], WHERE),
    "where not dense": (X.clone(), X.clone(), torch.stack([WHERE, WHERE], 1)[:, 0]),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("case", [*REFUSED, *RAW])
def test_the_compiled_library_checks_too(case: str) -> None:
    if "device" in case:
        pytest.skip("the dispatcher takes such a call to a device that has no kernel")
    with pytest.raises(RuntimeError):
        torch.ops.harden.copy_rows_(*(REFUSED | RAW)[case])


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases())
def test_it_is_bit_equal_on_cuda(cuda: torch.device, case: tuple[Tensor, Tensor, Tensor]) -> None:
    target, source, where = case
    result, expected = copied(target).to(cuda), copied(target)
    kernels.copy_rows_(result, source.to(cuda), where.to(cuda))
    kernels.copy_rows_(expected, source, where)
    assert torch.equal(bits(result.cpu()), bits(expected))


@pytest.mark.cuda
def test_it_is_captured_in_a_cuda_graph(cuda: torch.device) -> None:
    target, source = torch.zeros(4, 3, 8, 8, device=cuda), torch.ones(4, 3, 8, 8, device=cuda)
    where = torch.zeros(4, dtype=torch.bool, device=cuda)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels.copy_rows_(target, source, where)
    where[1] = True
    graph.replay()
    assert target.sum((1, 2, 3)).tolist() == [0.0, 192.0, 0.0, 0.0]
