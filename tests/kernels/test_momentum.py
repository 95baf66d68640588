"""The L-inf step of Auto-PGD: equal in both backends and to its parts, exact in rational numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels import reference
from harden.kernels.arguments import box_inwards

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]

BOXES = [(0.0, 1.0), (0.1, 0.7), (-1.0, 0.0), (-math.inf, math.inf)]
SHAPES = st.one_of(
    npst.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=4),
    st.sampled_from([(0,), (0, 3, 2, 2), (2, 0), (1, 35), (3, 3, 5, 7), (2, 1, 1, 1), (1, 1, 17)]),
)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SPECIAL = [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0]
SHARES = [0.75, 1.0, 0.0, 0.9, 1.5, -1.0, 1e-40, math.nan, math.inf]


@dataclass(frozen=True)
class Case:
    x_adv: Tensor
    before: Tensor
    x: Tensor
    grad: Tensor
    alpha: Tensor
    eps: Tensor
    share: Tensor
    low: float
    high: float

    def run(self, step: Step) -> tuple[Tensor, Tensor]:
        """Runs a step on copies of x_adv and before that keep their strides, and returns both."""
        x_adv, before = _copied(self.x_adv), _copied(self.before)
        step(x_adv, before, self.x, self.grad, self.alpha, self.eps, self.share, self.low, self.high)
        return x_adv, before

    def inside(self) -> Case:
        """The same in a box that float32 holds."""
        low, high = box_inwards(self.low, self.high)
        return replace(self, low=low, high=high)

    def on(self, device: torch.device) -> Case:
        """Moves the tensors to a device, strides and all."""
        return Case(
            self.x_adv.to(device),
            self.before.to(device),
            self.x.to(device),
            self.grad.to(device),
            self.alpha.to(device),
            self.eps.to(device),
            self.share.to(device),
            self.low,
            self.high,
        )


def _copied(tensor: Tensor) -> Tensor:
    copy = torch.empty_strided(tensor.shape, tensor.stride(), device=tensor.device)
    return copy.copy_(tensor)


def _laid_out(tensor: Tensor, layout: str) -> Tensor:
    """Returns the same numbers with other strides."""
    if layout == "channels_last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "reversed":
        axes = tuple(range(tensor.dim()))[::-1]
        return tensor.permute(axes).contiguous().permute(axes)
    if layout == "sliced":
        return torch.stack([tensor, torch.zeros_like(tensor)], dim=-1)[..., 0]
    return tensor.contiguous()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draws arguments: any layout, form and type; NaN, infinities and subnormals."""
    shape = draw(SHAPES)
    low, high = draw(st.sampled_from(BOXES))
    inner = box_inwards(low, high)
    # Numbers of its own: hypothesis would draw them one by one, at a hundred times the price.
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    special = draw(st.sampled_from([0.0, 0.1, 0.5]))

    def tensor(spread: float, odd: list[float], sizes: tuple[int, ...] = shape) -> Tensor:
        values = generator.uniform(-spread, spread, sizes).astype(np.float32)
        among = generator.choice(np.array(odd, dtype=np.float32), sizes)
        return torch.from_numpy(np.where(generator.random(sizes) < special, among, values).reshape(sizes))

    forms = [(), (1,), (shape[0],)] + ([(1, shape[1])] if len(shape) > 1 else [])
    sizes = [8 / 255, 2 / 255, 0.0, 1e-40, math.inf]
    layouts = st.sampled_from(["contiguous", "channels_last", "reversed", "sliced"])
    x = tensor(2.0, [0.0, -0.0, 1e-40, 0.1, inner[0], inner[1]])
    return Case(
        x_adv=_laid_out(tensor(2.0, [*SPECIAL, inner[0]]), draw(layouts)),
        before=_laid_out(tensor(2.0, [*SPECIAL, inner[1]]), draw(layouts)),
        x=_laid_out(x.clamp(max(inner[0], -3e38), min(inner[1], 3e38)), draw(layouts)),
        grad=_laid_out(tensor(1.0, SPECIAL), draw(layouts)).to(draw(st.sampled_from(DTYPES))),
        alpha=tensor(1.0, sizes, draw(st.sampled_from(forms))).abs(),
        eps=tensor(1.0, sizes, draw(st.sampled_from(forms))).abs(),
        share=torch.full(draw(st.sampled_from([(), (1,), (1, 1)])), draw(st.sampled_from(SHARES))),
        low=low,
        high=high,
    )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two float32 tensors hold the same bits; every NaN counts as the same."""
    nan = torch.isnan(one) & torch.isnan(other)
    return bool((nan | (one.contiguous().view(torch.int32) == other.contiguous().view(torch.int32))).all())


def _rational(tensor: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in tensor.reshape(-1).tolist()]


both_backends = pytest.mark.parametrize(
    "step", [kernels.apgd_linf_step_, reference.apgd_linf_step_], ids=["door", "torch"]
)


@pytest.mark.usefixtures("native")
@settings(max_examples=400)
@given(case=cases())
def test_both_backends_return_the_same_bits(case: Case) -> None:
    case = case.inside()
    for one, other in zip(
        case.run(kernels.apgd_linf_step_), case.run(reference.apgd_linf_step_), strict=True
    ):
        assert _same_bits(one, other)


@both_backends
@settings(max_examples=200)
@given(case=cases())
def test_it_is_a_step_then_a_mixture_then_a_projection(step: Step, case: Case) -> None:
    """What it stands for, in the operations it replaces, bit for bit."""
    case = case.inside()
    z = case.x_adv.clone()
    kernels.linf_step_(z, case.x, case.grad, case.alpha, case.eps, case.low, case.high)
    share = case.share.reshape(())
    if float(share) != 1.0:
        z = share * z + 2 * (1 - share) * case.x_adv - (1 - share) * case.before
        kernels.linf_step_(z, case.x, case.x, torch.zeros(1), case.eps, case.low, case.high)
    x_adv, before = case.run(step)
    assert _same_bits(x_adv, z)
    assert _same_bits(before, case.x_adv)


@both_backends
@settings(max_examples=200)
@given(case=cases())
def test_ball_and_box_hold_as_rational_numbers(step: Step, case: Case) -> None:
    case = case.inside()
    x_adv, _ = case.run(step)
    assert bool(((x_adv >= case.low) & (x_adv <= case.high)).all())
    if case.eps.shape == (1, *case.x.shape[1:2]) and case.x.dim() > 1:
        eps = case.eps.reshape(1, -1, *[1] * (case.x.dim() - 2)).expand(case.x.shape)
    else:
        eps = case.eps.reshape(-1, *[1] * (case.x.dim() - 1)).expand(case.x.shape)
    finite = eps.isfinite()
    for moved, clean, radius in zip(
        _rational(x_adv[finite]), _rational(case.x[finite]), _rational(eps[finite]), strict=True
    ):
        assert abs(moved - clean) <= radius


@both_backends
def test_a_step_by_hand(step: Step) -> None:
    x = torch.full((1, 3), 0.5)
    x_adv, before = torch.tensor([[0.5, 0.5, 0.625]]), torch.tensor([[0.25, 0.75, 0.625]])
    grad = torch.tensor([[1.0, -1.0, 1.0]])
    alpha, eps = torch.tensor([0.125]), torch.tensor(0.1875)
    step(x_adv, before, x, grad, alpha, eps, torch.tensor([0.75]), 0.0, 1.0)
    # z = 0.625, 0.375, 0.6875; 0.75 z + 0.5 x - 0.25 before = 0.65625, 0.34375, 0.671875: inside the ball.
    assert x_adv.tolist() == [[0.65625, 0.34375, 0.671875]]
    assert before.tolist() == [[0.5, 0.5, 0.625]]


@both_backends
def test_a_share_of_one_reads_no_number_before(step: Step) -> None:
    x = torch.full((1, 2), 0.5)
    x_adv, before = x.clone(), torch.tensor([[math.nan, math.inf]])
    step(x_adv, before, x, torch.ones(1, 2), torch.tensor(0.25), torch.tensor(0.5), torch.ones(1), 0.0, 1.0)
    assert x_adv.tolist() == [[0.75, 0.75]]
    assert before.tolist() == [[0.5, 0.5]]


def test_threads_do_not_change_a_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(5, 3, 70, 70, generator=generator)
    grad, before = torch.randn(x.shape, generator=generator), torch.rand(x.shape, generator=generator)
    alpha, eps, share = (
        torch.rand(5, generator=generator),
        torch.tensor([[0.1, 0.2, 0.3]]),
        torch.tensor(0.75),
    )
    results: list[list[Tensor]] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcome = [x.clone(), x.clone(memory_format=torch.channels_last)]
            for x_adv in outcome:
                last = before.clone()
                kernels.apgd_linf_step_(x_adv, last, x, grad, alpha, eps, share, 0.0, 1.0)
            results.append(outcome)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert torch.equal(results[0][0], results[0][1])


def test_a_changed_saved_tensor_is_noticed() -> None:
    x = torch.rand(2, 3)
    for place in (0, 1):
        written = x.clone().requires_grad_(), x.clone().requires_grad_()
        squared = (written[place] * written[place]).sum()
        alpha = torch.tensor(0.1)
        kernels.apgd_linf_step_(*written, x, torch.ones_like(x), alpha, alpha, torch.tensor(0.75), 0.0, 1.0)
        assert written[place].is_leaf
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(squared, written[place])


X = torch.full((2, 3, 4, 4), 0.5)
SHARED = X.clone()
REFUSED: dict[str, dict[str, object]] = {
    "x_adv is float64": {"x_adv": X.double()},
    "before is float64": {"before": X.double()},
    "before has another shape": {"before": X[:1].clone()},
    "before on another device": {"before": X.to("meta")},
    "share is float64": {"share": torch.tensor(0.75).double()},
    "share has two elements": {"share": torch.rand(2)},
    "share on another device": {"share": torch.tensor(0.75, device="meta")},
    "before is x_adv": {"x_adv": SHARED, "before": SHARED},
    "before is x": {"x": SHARED, "before": SHARED},
    "before is grad": {"grad": SHARED, "before": SHARED},
    "low above high": {"low": 1.0, "high": 0.0},
}


def _arguments(changed: dict[str, object]) -> list[object]:
    arguments: dict[str, object] = {
        "x_adv": X.clone(),
        "before": X.clone(),
        "x": X.clone(),
        "grad": torch.ones_like(X),
        "alpha": torch.tensor(0.1),
        "eps": torch.tensor(0.2),
        "share": torch.tensor(0.75),
        "low": 0.0,
        "high": 1.0,
    }
    return list((arguments | changed).values())


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_in_three_parts(case: str) -> None:
    with pytest.raises(InputError) as caught:
        kernels.apgd_linf_step_(*_arguments(REFUSED[case]))  # type: ignore[arg-type]
    assert caught.value.seen
    assert caught.value.expected
    assert caught.value.instead


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("case", [*REFUSED, "another layout", "before is sparse in memory"])
def test_the_compiled_library_checks_too(case: str) -> None:
    if "device" in case:
        pytest.skip("the dispatcher takes such a call to a device that has no kernel")
    last = X.clone(memory_format=torch.channels_last) if case == "another layout" else X[..., :2]
    with pytest.raises(RuntimeError):
        torch.ops.harden.apgd_linf_step_(*_arguments(REFUSED.get(case, {"before": last})))


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases())
def test_it_is_bit_equal_on_cuda(cuda: torch.device, case: Case) -> None:
    there, here = case.on(cuda).run(kernels.apgd_linf_step_), case.run(kernels.apgd_linf_step_)
    for one, other in zip(there, here, strict=True):
        assert _same_bits(one.cpu(), other)


@pytest.mark.cuda
def test_one_captured_graph_serves_every_share(cuda: torch.device) -> None:
    x = torch.rand(4, 3, 8, 8, device=cuda)
    grad, alpha, eps = torch.randn_like(x), torch.tensor(0.1, device=cuda), torch.tensor(0.05, device=cuda)
    x_adv, before, share = x.clone(), torch.rand_like(x), torch.ones(1, device=cuda)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels.apgd_linf_step_(x_adv, before, x, grad, alpha, eps, share, 0.0, 1.0)
    for value in (1.0, 0.75):
        share.fill_(value)
        expected, last = x_adv.clone(), before.clone()
        kernels.apgd_linf_step_(expected, last, x, grad, alpha, eps, share, 0.0, 1.0)
        graph.replay()
        assert torch.equal(x_adv, expected)
        assert torch.equal(before, last)
