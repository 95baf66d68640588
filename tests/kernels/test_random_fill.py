"""Draws: the compiled library against plain torch, known answers, and the starts of an earlier release."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.errors import InputError
from harden.kernels import philox, steps_reference
from harden.threats import L2, Linf

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
SEEDS = st.integers(-(2**70), 2**70)
SHAPES = st.one_of(
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.sampled_from([(1023,), (1024,), (1025,), (2047,), (2049,), (4101,), (3, 37, 41)]),
)
FAR_IDS = [0, 1, 2**62, -1, -(2**63), 2**33 + 7]

# sha256 of Linf("8/255").start on `_images()` by seed, from the release before there were compiled draws.
STARTS = {
    0: "fab67e9279c95f7617720ace31b49fb8917483894d0bc0086f4723db8540810d",
    2**63 + 11: "e5eb323cc52fc4da21ce3a135e2e927049f310f894b8d45cba5bcf6e347e04bd",
    -7: "dea3144e4e0c0163d559078d6973b197cce34be80309b90bd30140310b95ac3f",
}


def _ids(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _images() -> Tensor:
    """Six images (3, 5, 7) of 8-bit pixels."""
    return (torch.arange(6 * 3 * 5 * 7) * 37 % 256).float().div(255).view(6, 3, 5, 7)


def _filled(out: Tensor) -> Tensor:
    return out.fill_(math.nan)


@given(SEEDS, IDS, SHAPES)
def test_uniform_has_the_bits_of_plain_torch(seed: int, ids: list[int], shape: tuple[int, ...]) -> None:
    out, expected = torch.full((len(ids), *shape), math.nan), torch.empty(len(ids), *shape)
    kernels.fill_uniform_(out, seed, _ids(ids))
    philox.fill_uniform_(expected, _ids(ids), seed)
    assert torch.equal(out, expected)


@given(SEEDS, IDS, SHAPES)
def test_normal_agrees_with_plain_torch(seed: int, ids: list[int], shape: tuple[int, ...]) -> None:
    out, expected = torch.full((len(ids), *shape), math.nan), torch.empty(len(ids), *shape)
    kernels.fill_normal_(out, seed, _ids(ids))
    philox.fill_normal_(expected, _ids(ids), seed)
    torch.testing.assert_close(out, expected, rtol=2.0**-23, atol=1e-14)


def test_normal_is_the_formula_in_its_docstring() -> None:
    uniform, normal = torch.empty(2, 34), torch.empty(2, 33)
    ids = _ids([5, -9])
    kernels.fill_uniform_(uniform, 3, ids)
    kernels.fill_normal_(normal, 3, ids)
    for u, found in zip(uniform.tolist(), normal.tolist(), strict=True):
        radius = [math.sqrt(-2 * math.log(u[j] + 2**-24)) for j in range(17)]
        angle = [2 * math.pi * u[17 + j] for j in range(17)]
        expected = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)]
        expected += [r * math.sin(a) for r, a in zip(radius, angle, strict=True)]
        assert found == pytest.approx(expected[:33], rel=2**-23, abs=1e-14)


def test_normal_agrees_with_plain_torch_over_millions() -> None:
    """Logarithm, cosine and sine are our own: wide enough a sample meets every branch of theirs."""
    out, expected = torch.empty(40, 50_001), torch.empty(40, 50_001)
    kernels.fill_normal_(out, 1, torch.arange(40))
    philox.fill_normal_(expected, torch.arange(40), 1)
    torch.testing.assert_close(out, expected, rtol=2.0**-23, atol=1e-14)


@pytest.mark.usefixtures("native")
def test_the_compiled_operation_gives_the_known_answer() -> None:
    """Random123, tests/kat_vectors: philox4x32 10 with counter and key of zeros."""
    out = torch.empty(1, 4)
    torch.ops.harden.fill_uniform_(out, _ids([0]), 0)
    assert [int(value * 2**24) for value in out[0].tolist()] == [0x6627E8, 0xE169C5, 0xBC57AC, 0x9B00DB]


@pytest.mark.parametrize("normal", [False, True])
def test_strides_and_neighbours_change_no_number(normal: bool) -> None:
    fill = kernels.fill_normal_ if normal else kernels.fill_uniform_
    ids = _ids(FAR_IDS)
    expected = torch.empty(6, 3, 5, 7)
    fill(expected, 4, ids)
    for out in (
        torch.empty(6, 3, 5, 7).contiguous(memory_format=torch.channels_last),
        torch.empty(7, 5, 3, 6).permute(3, 2, 1, 0),
        torch.empty(6, 3, 5, 14)[..., ::2],
    ):
        fill(_filled(out), 4, ids)
        assert torch.equal(out, expected)
    around = torch.full((8, 3, 5, 7), 9.0)
    fill(around[1:7], 4, torch.stack([ids, ids], 1)[:, 0])
    assert torch.equal(around[1:7], expected)
    assert bool((around[[0, 7]] == 9.0).all())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("seed", STARTS)
def test_a_seed_keeps_its_meaning(seed: int, layout: torch.memory_format) -> None:
    start = Linf("8/255").start(_images().contiguous(memory_format=layout), Draws(seed, _ids(FAR_IDS)))
    assert start.is_contiguous(memory_format=layout)
    assert hashlib.sha256(start.contiguous().numpy().tobytes()).hexdigest() == STARTS[seed]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(6, 3, 5, 7), (6, 1, 1, 1), (6, 4, 33, 9)])
@pytest.mark.parametrize("seed", [0, 2**62, -3])
def test_starts_are_those_of_plain_torch(
    seed: int, shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    ids = _ids(FAR_IDS)
    eps = torch.tensor([8 / 255]).nextafter(torch.zeros(1))  # the largest float32 below 8/255
    noise = torch.empty(shape)
    philox.fill_uniform_(noise, ids, seed)
    expected = x + (2.0 * noise - 1.0) * eps
    steps_reference.linf_step_(expected, x, x, torch.zeros(1), eps, 0.0, 1.0)
    assert torch.equal(Linf("8/255").start(x, Draws(seed, ids)), expected)

    philox.fill_normal_(noise, ids, seed)
    radius = torch.empty(6, 1)
    philox.fill_uniform_(radius, ids, Draws(seed, ids).fold(1).seed)
    rows = noise.flatten(1).double()
    rows *= 0.5 * radius.double() ** (1 / rows.shape[1]) / rows.square().sum(1, keepdim=True).sqrt()
    expected = (x.double() + rows.view(shape)).clamp(0, 1).float()
    torch.testing.assert_close(L2("1/2").start(x, Draws(seed, ids)), expected, rtol=2**-23, atol=0.5e-6)


def test_threads_do_not_change_a_bit() -> None:
    ids = torch.arange(50)
    results: list[list[Tensor]] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcome = [torch.empty(50, 3001), torch.empty(50, 3001), torch.empty(1, 90_001)]
            kernels.fill_uniform_(outcome[0], 7, ids)
            kernels.fill_normal_(outcome[1], 7, ids)
            kernels.fill_normal_(outcome[2], 7, ids[:1])
            results.append(outcome)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("out", "ids"),
    [
        (torch.empty(2, 3, dtype=torch.float64), torch.arange(2)),
        (torch.empty(2, 3), torch.arange(3)),
        (torch.empty(()), torch.arange(1)),
        (torch.empty(2, 3), torch.arange(2).int()),
        (torch.empty(2, 3), torch.arange(2).view(2, 1)),
        (torch.empty(2, 3), torch.arange(2).to("meta")),
    ],
)
def test_what_cannot_be_filled_is_refused(out: Tensor, ids: Tensor) -> None:
    for fill in (kernels.fill_uniform_, kernels.fill_normal_):
        with pytest.raises(InputError) as caught:
            fill(out, 0, ids)
        assert caught.value.instead


RAW_REFUSED = {
    "out has to be float32": (torch.zeros(2, 3, dtype=torch.float64), torch.arange(2)),
    "int64 of shape": (torch.zeros(2, 3), torch.arange(2).int()),
    "an id for each example": (torch.zeros(2, 3), torch.arange(3)),
    "have to be contiguous": (torch.zeros(3, 2).T, torch.arange(2)),
    "share memory": (torch.zeros(6).view(2, 3), None),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("message", RAW_REFUSED)
def test_the_compiled_operations_check_for_themselves(message: str) -> None:
    out, ids = RAW_REFUSED[message]
    ids = out.view(-1)[:4].view(torch.int64) if ids is None else ids
    for operation in (torch.ops.harden.fill_uniform_, torch.ops.harden.fill_normal_):
        with pytest.raises(RuntimeError, match=message):
            operation(out, ids, 0)
        assert not bool(out.any())


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", ["fill_uniform_", "fill_normal_"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own tracing
def test_opcheck_passes(name: str) -> None:
    packet = getattr(torch.ops.harden, name)
    outcome = torch.library.opcheck(packet.default, (torch.empty(2, 3), torch.arange(2), -5))
    assert set(outcome.values()) == {"SUCCESS"}
    assert [argument.name for argument in packet.default._schema.arguments if argument.is_write] == ["out"]


def test_a_changed_saved_tensor_is_noticed_and_inference_tensors_are_filled() -> None:
    out = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    squared = (out * out).sum()
    with torch.no_grad():
        kernels.fill_uniform_(out, 0, torch.arange(2))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(squared, out)
    with torch.inference_mode():
        filled = Draws(0, torch.arange(2)).uniform((3,))
    assert torch.equal(filled, out.detach())


@pytest.mark.cuda
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 37, 41), (5000,)])
@pytest.mark.parametrize("seed", [0, -1, 2**63 + 1])
def test_draws_have_the_same_bits_on_cuda(cuda: torch.device, seed: int, shape: tuple[int, ...]) -> None:
    ids = _ids(FAR_IDS)
    for fill in (kernels.fill_uniform_, kernels.fill_normal_):
        here, there = torch.empty(6, *shape), torch.empty(6, *shape, device=cuda)
        fill(here, seed, ids)
        fill(there, seed, ids.to(cuda))
        assert torch.equal(there.cpu(), here)
