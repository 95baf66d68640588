"""The steps of Auto-PGD, whatever the norm: shares, threads, autograd, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harden import kernels
from harden.errors import InputError
from harden.kernels import steps_reference
from tests.kernels.heavy import HeavyStep

STEPS: dict[str, HeavyStep] = {
    "linf": kernels.apgd_linf_step_,
    "linf in torch": steps_reference.apgd_linf_step_,
    "l2": kernels.apgd_l2_step_,
    "l2 in torch": steps_reference.apgd_l2_step_,
}
DOORS = [kernels.apgd_linf_step_, kernels.apgd_l2_step_]

every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
every_door = pytest.mark.parametrize("door", DOORS, ids=["linf", "l2"])


@every_step
def test_a_share_of_one_reads_no_number_before(step: HeavyStep) -> None:
    x = torch.full((1, 2), 0.5)
    x_adv, before, grad = x.clone(), torch.tensor([[math.nan, math.inf]]), torch.tensor([[1.0, 0.0]])
    step(x_adv, before, x, grad, torch.tensor(0.25), torch.tensor(0.5), torch.ones(1), 0.0, 1.0)
    assert x_adv.tolist() == [[0.75, 0.5]]
    assert before.tolist() == [[0.5, 0.5]]


@every_step
def test_what_is_not_a_number_moves_nothing(step: HeavyStep) -> None:
    x = torch.full((1, 3), 0.5)
    x_adv, before = torch.tensor([[0.5, math.nan, 0.5]]), torch.tensor([[0.5, 0.5, math.inf]])
    grad = torch.full((1, 3), math.nan)
    step(x_adv, before, x, grad, torch.tensor(0.25), torch.tensor(0.5), torch.tensor(0.75), 0.0, 1.0)
    # An infinity before pushes away from it, as far as the L-inf ball; L2 leaves out what is not finite.
    assert x_adv.tolist()[0][:2] == [0.5, 0.5]
    assert x_adv.tolist()[0][2] in (0.0, 0.5)


@every_step
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (1,), (1, 1, 1, 1)])
def test_empty_examples_and_single_elements(step: HeavyStep, shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 0.5)
    x_adv, before, alpha, eps = x.clone(), x.clone(), torch.tensor(0.125), torch.tensor(0.25)
    for _ in range(3):
        step(x_adv, before, x, torch.ones(shape), alpha, eps, torch.tensor(0.75), 0.0, 1.0)
    assert bool(((x_adv > 0.74) & (x_adv <= 0.75)).all())
    assert before.shape == shape


@every_door
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_bfloat16_gradient_steps_as_its_float32_does(door: HeavyStep, layout: torch.memory_format) -> None:
    """All 65,536 numbers of bfloat16, NaN, infinities and subnormals among them."""
    grad = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16).view(4, 4, 64, 64)
    grad = grad.contiguous(memory_format=layout)
    x, before = torch.rand((2, *grad.shape), generator=torch.Generator().manual_seed(6)).unbind()
    x = x.contiguous(memory_format=layout)
    for share in (torch.tensor(0.75), torch.tensor(1.0)):
        results: list[Tensor] = []
        for gradient in (grad, grad.float()):
            x_adv, last = x.clone(), before.clone()
            door(x_adv, last, x, gradient, torch.tensor(0.1), torch.tensor(0.1), share, 0.0, 1.0)
            assert torch.equal(last, x)
            results.append(x_adv)
        assert torch.equal(*results)
        assert not torch.equal(results[0], x)


@pytest.mark.usefixtures("native")
@every_door
def test_nothing_is_copied_where_all_have_one_layout(door: HeavyStep) -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    x_adv, before, grad = x.clone(), x.clone(), torch.ones_like(x, dtype=torch.bfloat16)
    alpha, share = torch.tensor(0.1), torch.tensor(0.75)
    with torch.profiler.profile() as profile:
        door(x_adv, before, x, grad, alpha, alpha, share, 0.0, 1.0)
    ran = {event.name for event in profile.events() or ()}
    assert any(name.startswith("harden::apgd_") for name in ran)
    assert not {"aten::copy_", "aten::_to_copy", "aten::empty", "aten::empty_like"} & ran


@every_door
def test_threads_do_not_change_a_bit(door: HeavyStep) -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(5, 3, 70, 70, generator=generator)
    grad, before = torch.randn(x.shape, generator=generator), torch.rand(x.shape, generator=generator)
    per_channel = door is kernels.apgd_linf_step_
    eps = torch.tensor([[0.1, 0.2, 0.3]]) if per_channel else torch.tensor(3.0)
    alpha, share = torch.rand(5, generator=generator), torch.tensor(0.75)
    results: list[list[Tensor]] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcome = [x.clone(), x.clone(memory_format=torch.channels_last)]
            for x_adv in outcome:
                last = before.clone()
                door(x_adv, last, x, grad, alpha, eps, share, 0.0, 1.0)
            results.append(outcome)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    # An L2 length is summed in the order of memory.
    assert not per_channel or torch.equal(results[0][0], results[0][1])


@every_door
def test_a_changed_saved_tensor_is_noticed(door: HeavyStep) -> None:
    x = torch.rand(2, 3)
    for place in (0, 1):
        written = x.clone().requires_grad_(), x.clone().requires_grad_()
        squared = (written[place] * written[place]).sum()
        alpha = torch.tensor(0.1)
        door(*written, x, torch.ones_like(x), alpha, alpha, torch.tensor(0.75), 0.0, 1.0)
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


@every_door
@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_in_three_parts(door: HeavyStep, case: str) -> None:
    with pytest.raises(InputError) as caught:
        door(*_arguments(REFUSED[case]))  # type: ignore[arg-type]
    assert caught.value.seen
    assert caught.value.expected
    assert caught.value.instead


def test_l2_has_no_step_size_for_each_channel() -> None:
    with pytest.raises(InputError, match="alpha"):
        kernels.apgd_l2_step_(*_arguments({"alpha": torch.full((1, 3), 0.1)}))  # type: ignore[arg-type]


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("operation", ["apgd_linf_step_", "apgd_l2_step_"])
@pytest.mark.parametrize("case", [*REFUSED, "another layout", "before is sparse in memory"])
def test_the_compiled_library_checks_too(operation: str, case: str) -> None:
    if "device" in case:
        pytest.skip("the dispatcher takes such a call to a device that has no kernel")
    last = X.clone(memory_format=torch.channels_last) if case == "another layout" else X[..., :2]
    with pytest.raises(RuntimeError):
        getattr(torch.ops.harden, operation)(*_arguments(REFUSED.get(case, {"before": last})))


@pytest.mark.cuda
@every_door
def test_one_captured_graph_serves_every_share(cuda: torch.device, door: HeavyStep) -> None:
    x = torch.rand(4, 3, 8, 8, device=cuda)
    grad, alpha, eps = torch.randn_like(x), torch.tensor(0.1, device=cuda), torch.tensor(0.05, device=cuda)
    x_adv, before, share = x.clone(), torch.rand_like(x), torch.ones(1, device=cuda)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        door(x_adv, before, x, grad, alpha, eps, share, 0.0, 1.0)
    for value in (1.0, 0.75):
        share.fill_(value)
        expected, last = x_adv.clone(), before.clone()
        door(expected, last, x, grad, alpha, eps, share, 0.0, 1.0)
        graph.replay()
        assert torch.equal(x_adv, expected)
        assert torch.equal(before, last)
