"""What an operation overwrites shares no memory with what it reads or with itself, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels import l1_steps, loss_grad, masked_copy, momentum_steps, random_fill, steps
from harden.kernels.load_library import Backend
from harden.kernels.memory_layout import share_memory

SHAPE = (2, 3, 2, 2)
SIZE = 24
NUMBER = torch.tensor(0.1)
KEYS = torch.tensor([1, 2])


@pytest.fixture(params=["native", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the doors run what they let through."""
    if request.param == "torch":
        for module in (random_fill, l1_steps, loss_grad, momentum_steps, masked_copy, steps):
            monkeypatch.setattr(module, "backend", lambda device: Backend("torch", "asked for"))
    name: str = request.param
    return name


class Memory:
    """One storage of float32, from which tensors are cut that overlap by so many elements."""

    def __init__(self) -> None:
        self.whole = torch.linspace(0, 1, 4 * SIZE)

    def part(self, at: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
        return self.whole[at : at + torch.Size(shape).numel()].view(shape)


def fresh(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(shape)


Call = Callable[[Tensor, Tensor], None]
"""Of the tensor that is overwritten, and one that is read."""
CALLS: dict[str, tuple[Call, tuple[int, ...]]] = {
    "linf, x": (lambda out, x: kernels.linf_step_(out, x, fresh(), NUMBER, NUMBER, 0.0, 1.0), SHAPE),
    "linf, grad": (lambda out, x: kernels.linf_step_(out, fresh(), x, NUMBER, NUMBER, 0.0, 1.0), SHAPE),
    "linf, alpha": (lambda out, x: kernels.linf_step_(out, fresh(), fresh(), x, NUMBER, 0.0, 1.0), (2,)),
    "linf, eps": (lambda out, x: kernels.linf_step_(out, fresh(), fresh(), NUMBER, x, 0.0, 1.0), (1, 3)),
    "l2, x": (lambda out, x: kernels.l2_step_(out, x, fresh(), NUMBER, NUMBER, 0.0, 1.0), SHAPE),
    "l2, eps": (lambda out, x: kernels.l2_step_(out, fresh(), fresh(), NUMBER, x, 0.0, 1.0), (2,)),
    "l1, grad": (lambda out, x: kernels.l1_step_(out, fresh(), x, NUMBER, NUMBER, NUMBER, 0.0, 1.0), SHAPE),
    "l1, k": (lambda out, x: kernels.l1_step_(out, fresh(), fresh(), NUMBER, NUMBER, x, 0.0, 1.0), (2,)),
    "l1 projection, x": (lambda out, x: kernels.l1_project_(out, x, NUMBER, 0.0, 1.0), SHAPE),
    "l1 projection, eps": (lambda out, x: kernels.l1_project_(out, fresh(), x, 0.0, 1.0), (2,)),
    "apgd, before": (
        lambda out, x: kernels.apgd_linf_step_(
            out, x, fresh(), fresh(), NUMBER, NUMBER, torch.tensor(0.75), 0.0, 1.0
        ),
        SHAPE,
    ),
    "apgd, before and x": (
        lambda out, x: kernels.apgd_l2_step_(
            fresh(), out, x, fresh(), NUMBER, NUMBER, torch.tensor(0.75), 0.0, 1.0
        ),
        SHAPE,
    ),
    "apgd, share": (
        lambda out, x: kernels.apgd_linf_step_(out, fresh(), fresh(), fresh(), NUMBER, NUMBER, x, 0.0, 1.0),
        (1,),
    ),
    "apgd, before and share": (
        lambda out, x: kernels.apgd_linf_step_(fresh(), out, fresh(), fresh(), NUMBER, NUMBER, x, 0.0, 1.0),
        (1,),
    ),
    "rows, source": (lambda out, x: kernels.copy_rows_(out, x, torch.tensor([True, False])), SHAPE),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("overlap", [1, 2, SIZE])
def test_overlapping_memory_is_refused_and_left_as_it_is(name: str, overlap: int, backend: str) -> None:
    call, shape = CALLS[name]
    memory = Memory()
    count = torch.Size(shape).numel()
    overlap = min(overlap, count)
    before = memory.whole.clone()
    for at in (2 * SIZE - overlap, SIZE - count + overlap):  # behind the beginning and before the end
        with pytest.raises(InputError, match=r"(x_adv|before|target) shares memory with what is read"):
            call(memory.part(SIZE), memory.part(at, shape))
        assert torch.equal(memory.whole, before)


@pytest.mark.parametrize("name", CALLS)
def test_neighbours_in_one_storage_are_taken(name: str, backend: str) -> None:
    call, shape = CALLS[name]
    memory = Memory()
    call(memory.part(SIZE), memory.part(2 * SIZE, shape))
    call(memory.part(SIZE), memory.part(SIZE - torch.Size(shape).numel(), shape))


@pytest.mark.parametrize("name", [name for name, (_, shape) in CALLS.items() if shape == SHAPE])
def test_interleaved_tensors_of_one_storage_are_taken(name: str, backend: str) -> None:
    """Every other pixel: they span the same memory, and share no byte of it."""
    call, _ = CALLS[name]
    both = torch.rand(*SHAPE, 2)
    call(both[..., 0], both[..., 1])
    with pytest.raises(InputError, match="shares memory with what is read"):
        call(both[..., 0], both.view(-1)[SIZE - 1 : 2 * SIZE - 1].view(SHAPE))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "out",
    [
        torch.rand(1, 3, 2, 2).expand(SHAPE),
        torch.rand(2, 1, 2, 2).expand(SHAPE),
        torch.rand(2, 3, 1, 1).expand(SHAPE),
        torch.rand(64).as_strided(SHAPE, (12, 3, 2, 1)),
        torch.rand(64).as_strided(SHAPE, (4, 4, 2, 1)),
    ],
    ids=["images", "channels", "pixels", "windows", "shifted"],
)
def test_an_element_that_is_several_is_not_overwritten(name: str, out: Tensor, backend: str) -> None:
    call, shape = CALLS[name]
    before = out.clone()
    with pytest.raises(InputError, match=r"(x_adv|before|target) shares memory with itself"):
        call(out, fresh(shape))
    assert torch.equal(out, before)


def test_outputs_of_rankings_and_draws_keep_to_themselves(backend: str) -> None:
    memory = Memory()
    for values, k in ((memory.part(0), NUMBER), (fresh(), memory.part(1, (2,)))):
        with pytest.raises(InputError, match="out shares memory with what is read"):
            kernels.topk_threshold(memory.part(0, (2,)), values, k)
    with pytest.raises(InputError, match="out shares memory with itself"):
        kernels.topk_threshold(torch.zeros(1).expand(2), fresh(), NUMBER)
    for fill in (kernels.fill_uniform_, kernels.fill_normal_):
        ids = torch.zeros(12, dtype=torch.int64)
        with pytest.raises(InputError, match="out shares memory with what is read"):
            fill(ids.view(torch.float32).view(12, 2), 0, ids)
        with pytest.raises(InputError, match="out shares memory with itself"):
            fill(torch.zeros(1, 3).expand(2, 3), 0, KEYS)
    masked_copy, where = torch.zeros(2, 4), torch.tensor([True, False])
    with pytest.raises(InputError, match="target shares memory with what is read"):
        kernels.copy_rows_(masked_copy, fresh((2, 4)), masked_copy.view(torch.bool).view(-1)[:2])
    kernels.copy_rows_(masked_copy, fresh((2, 4)), where)


def test_outputs_of_a_loss_share_nothing(backend: str) -> None:
    logits, y = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
    out = loss_grad.LossGrad.like(logits)
    loss_grad.cross_entropy_grad_(out, logits, y)
    shared = torch.zeros(12)
    for fields in (
        {"dlogits": logits},
        {"loss": shared[:4], "margin": shared[3:7]},
        {"loss": logits.view(-1)[8:]},
        {"margin": y.view(torch.float32)[:4]},
        {"wrong": y.view(torch.bool)[:4]},
    ):
        parts = {name: getattr(out, name) for name in ("loss", "margin", "wrong", "dlogits")}
        with pytest.raises(InputError, match="an output that shares memory"):
            loss_grad.cross_entropy_grad_(loss_grad.LossGrad(**{**parts, **fields}), logits, y)


VIEWS = st.tuples(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), min_size=1, max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64]),
)


def view(memory: Tensor, made: tuple[int, list[tuple[int, int]], torch.dtype]) -> Tensor:
    at, axes, dtype = made
    return memory.view(dtype).as_strided([size for size, _ in axes], [stride for _, stride in axes], at)


def addresses(tensor: Tensor) -> set[int]:
    """Of every byte, one element after another."""
    found: set[int] = set()
    for place in product(*map(range, tensor.shape)):
        offset = sum(index * stride for index, stride in zip(place, tensor.stride(), strict=True))
        start = tensor.data_ptr() + offset * tensor.element_size()
        found.update(range(start, start + tensor.element_size()))
    return found


@given(VIEWS, VIEWS)
@settings(max_examples=300, deadline=None)
def test_sharing_memory_is_told_to_the_byte(
    one: tuple[int, list[tuple[int, int]], torch.dtype], other: tuple[int, list[tuple[int, int]], torch.dtype]
) -> None:
    memory = torch.zeros(1024, dtype=torch.uint8)
    a, b = view(memory, one), view(memory, other)
    assert share_memory(a, b) == bool(addresses(a) & addresses(b))


X: Tensor = torch.linspace(0, 1, SIZE).view(SHAPE)
RAW: dict[str, Callable[[Tensor, Tensor], object]] = {
    "alpha or eps": lambda out, x: torch.ops.harden.linf_step_(out, X, X, x, NUMBER, 0.0, 1.0),
    "or eps": lambda out, x: torch.ops.harden.l2_step_(out, X, X, NUMBER, x, 0.0, 1.0),
    "memory with k": lambda out, x: torch.ops.harden.l1_step_(out, X, X, NUMBER, NUMBER, x, 0.0, 1.0),
    "with alpha or": lambda out, x: torch.ops.harden.l1_project_(out, X, x, 0.0, 1.0),
    "memory with share": lambda out, x: torch.ops.harden.apgd_linf_step_(
        out, fresh(), X, X, NUMBER, NUMBER, x[:1], 0.0, 1.0
    ),
    "before must not share memory with alpha": lambda out, x: torch.ops.harden.apgd_l2_step_(
        fresh(), out, X, X, x, NUMBER, torch.tensor(0.75), 0.0, 1.0
    ),
    "x_adv and before must not share memory with share": lambda out, x: torch.ops.harden.apgd_l2_step_(
        fresh(), out, X, X, NUMBER, NUMBER, x[:1], 0.0, 1.0
    ),
    "values or k": lambda out, x: torch.ops.harden.topk_threshold(out.view(-1)[:2], X, x),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("said", RAW)
def test_the_compiled_operations_refuse_to_overwrite_their_sizes(said: str) -> None:
    """Read for each example anew, they would change between two of them."""
    memory = Memory()
    before = memory.whole.clone()
    for at in (SIZE, SIZE + 1):
        with pytest.raises(RuntimeError, match=said):
            RAW[said](memory.part(SIZE), memory.part(at, (2,)))
        assert torch.equal(memory.whole, before)
    RAW[said](memory.part(SIZE), memory.part(2 * SIZE, (2,)))
