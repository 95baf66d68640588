"""The fast copy: the same function up to rounding, the original untouched, and no fold that is not sound."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from harden.errors import InputError
from harden.evaluation import evaluate, pgd_suite
from harden.models import Classifier, PassMeter, bfloat16_is_native, counting, prepare
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")


class Residual(nn.Module):
    """Two convolutions, the second with a path around it; the first's output has one reader."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm_one = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.two, self.norm_two = nn.Conv2d(8, 8, 3, padding=1, bias=False, groups=2), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def _head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_one(self.one(x)).relu()
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


class ReadTwice(Residual):
    """The first convolution's output goes around its BatchNorm too."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x = x + self.norm_one(x)
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


class ReadBesideTheGraph(Residual):
    """As ReadTwice, where the graph doesn't show it."""

    def forward(self, x: Tensor) -> Tensor:
        raw = self.one(x)
        x = self.norm_one(raw) + raw.detach().square()
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


class ChangedInPlace(Residual):
    """Something happens to the first convolution's output on its way."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_one(self.one(x).mul_(3.0)).relu()
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


class RunTwice(Residual):
    """The second convolution and its BatchNorm serve twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_one(self.one(x)).relu()
        for _ in range(2):
            x = self.norm_two(self.two(x)).relu()
        return self._head(x.mean((2, 3)))


class ByFunction(Residual):
    """A BatchNorm that is called as a function: no module to watch."""

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm_one
        x = functional.batch_norm(self.one(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


def _dense() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16, affine=False), nn.ReLU(), nn.Linear(16, 5)
    )


def _no_statistics() -> nn.Module:
    network = Residual()
    network.norm_one = nn.BatchNorm2d(8, track_running_stats=False)
    return network


def _parametrised() -> nn.Module:
    network = Residual()
    spectral_norm(network.one)
    return network


def _hooked() -> nn.Module:
    network = Residual()
    network.norm_one.register_forward_hook(lambda *_: None)
    return network


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "residual": (Residual, 2),
    "dense": (_dense, 1),
    "read twice": (ReadTwice, 1),
    "read outside the graph": (ReadBesideTheGraph, 0),
    "changed in place": (ChangedInPlace, 1),
    "run twice": (RunTwice, 1),
    "by function": (ByFunction, 1),
    "no statistics": (_no_statistics, 1),
    "parametrised": (_parametrised, 1),
    "hooked": (_hooked, 1),
}


class Viewed(Residual):
    """`view` behind convolutions, as in nearly every tutorial: it takes contiguous memory alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 8 * 8, 5)

    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_one(self.one(x)).relu()
        return self._head(self.flat((x + self.norm_two(self.two(x))).relu()))


class ViewedTransposed(Viewed):
    """Half channels and rows merged, and swapped."""

    def flat(self, x: Tensor) -> Tensor:
        return x.view(len(x), 16, 32).transpose(1, 2).flatten(1)


class Strided(Viewed):
    """Reads memory as if it were contiguous: in another order there is no error, but another answer."""

    def flat(self, x: Tensor) -> Tensor:
        return x.as_strided((len(x), 512), (512, 1))


class Demanding(Viewed):
    """Says what it wants."""

    def flat(self, x: Tensor) -> Tensor:
        if not x.is_contiguous():
            raise ValueError("contiguous activations, please")
        return x.flatten(1)


class Upsampled(Viewed):
    """A transposed convolution before the view."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 2, 2, stride=2)

    def flat(self, x: Tensor) -> Tensor:
        wide: Tensor = self.up(x)
        return wide.view(-1, 2 * 16 * 16)


class _FlatBack(torch.autograd.Function):
    """x, with a backward that wants a contiguous gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return gradient.view(-1).view(gradient.shape)


class ViewedBackward(Residual):
    """No view on the way forward, one on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_one(_FlatBack.apply(self.one(x))).relu()
        return self._head((x + self.norm_two(self.two(x))).relu().mean((2, 3)))


CONTIGUOUS: dict[str, Callable[[], nn.Module]] = {
    "view": Viewed,
    "view, transposed": ViewedTransposed,
    "strided": Strided,
    "demanding": Demanding,
    "transposed convolution": Upsampled,
    "view on the way back": ViewedBackward,
}


def _model(make: Callable[[], nn.Module]) -> Classifier:
    """A network with statistics and weights that differ from those of a fresh BatchNorm, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (part.running_mean, part.running_var, part.weight, part.bias):
                    if values is not None:
                        values.data.uniform_(0.5, 1.5)
    return Classifier(network, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).train()


def _inference(model: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval().logits(x)


def _gradient(classify: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(classify(x).square().sum(), x)
    return found


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_function_and_folds_what_it_may(case: str, images: Tensor) -> None:
    make, folded = CASES[case]
    model = _model(make)
    prepared = prepare(model, images[:3])
    assert prepared.folded == folded
    torch.testing.assert_close(prepared(images), _inference(model, images), rtol=1e-4, atol=1e-4)
    expected = _gradient(copy.deepcopy(model).eval().logits, images)
    torch.testing.assert_close(_gradient(prepared, images), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_left_as_it_was(case: str, images: Tensor) -> None:
    model = _model(CASES[case][0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()]
    prepared = prepare(model, images[:3], torch.bfloat16)
    _gradient(prepared, images)
    prepared.refresh_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [name for name, _ in model.named_modules()] == names
    assert [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()] == hooks
    assert all(part.training for part in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", ["residual", "dense", "parametrised", "read outside the graph"])
def test_it_follows_weights_that_move(case: str, precision: torch.dtype, images: Tensor) -> None:
    model = _model(CASES[case][0])
    prepared = prepare(model, images[:3], precision)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.mul_(1.1).add_(0.01)
    old = prepared(images)
    prepared.refresh_()
    assert not torch.equal(prepared(images), old)
    assert torch.equal(prepared(images), prepare(model, images[:3], precision)(images))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CONTIGUOUS)
def test_what_needs_contiguous_memory_gets_it(case: str, precision: torch.dtype, images: Tensor) -> None:
    model = _model(CONTIGUOUS[case])
    last = images.contiguous(memory_format=torch.channels_last)
    prepared = prepare(model, last[:3], precision)
    assert prepared.form.layout == torch.contiguous_format
    assert prepared.precision == precision
    assert prepared.folded == (1 if case == "view on the way back" else 2)
    assert prepared.describe().startswith(f"{prepared.folded} BatchNorms folded, contiguous")
    assert prepared.lay_out(last).is_contiguous()
    expected = _gradient(copy.deepcopy(model).eval().logits, images)
    near = 1e-3 if precision == torch.float32 else 0.1
    for given in (images, last, images[:1], last[2:5]):
        answer = _inference(model, given.contiguous())
        apart = (prepared(given) - answer).abs().max()
        assert float(apart) <= near * float(answer.abs().max())
    cosine = functional.cosine_similarity(_gradient(prepared, last).flatten(1), expected.flatten(1))
    assert float(cosine.min()) > (0.99 if precision == torch.float32 else 0.95)
    with torch.no_grad():
        model.network.get_submodule("one").weight.mul_(1.1)  # type: ignore[operator]  # a convolution's
    prepared.refresh_()
    assert torch.equal(prepared(last), prepare(model, images[:3], precision)(images))


@pytest.mark.parametrize("case", ["residual", "read twice"])
def test_what_takes_channels_last_keeps_them(case: str, images: Tensor) -> None:
    prepared = prepare(_model(CASES[case][0]), images[:3])
    assert prepared.form.layout == torch.channels_last
    assert prepared.lay_out(images).is_contiguous(memory_format=torch.channels_last)


class Centred(Residual):
    """A running centre that training moves and that nothing registers."""

    def __init__(self) -> None:
        super().__init__()
        self.center = torch.zeros(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.center = 0.5 * self.center + 0.5 * x.detach().mean((0, 2, 3)).view(3, 1, 1)
        return super().forward(x - self.center)


def test_it_follows_state_that_nothing_registers(images: Tensor) -> None:
    model = _model(Centred)
    prepared = prepare(model, images[:3])
    model.logits(images)
    prepared.refresh_()
    torch.testing.assert_close(prepared(images), _inference(model, images), rtol=1e-4, atol=1e-4)


def test_bfloat16_differs_by_its_rounding_alone(images: Tensor) -> None:
    model = _model(Residual)
    prepared = prepare(model, images[:3], torch.bfloat16)
    assert prepared.precision == torch.bfloat16
    answer, exact = prepared(images), _inference(model, images)
    assert answer.dtype == torch.float32
    assert not torch.allclose(answer, exact, rtol=1e-5)
    assert float((answer - exact).abs().max()) < 0.05 * float(exact.abs().max())
    gradient, expected = _gradient(prepared, images), _gradient(copy.deepcopy(model).eval().logits, images)
    assert gradient.dtype == torch.float32
    assert float(functional.cosine_similarity(gradient.flatten(1), expected.flatten(1)).min()) > 0.99


class NamesAType(nn.Module):
    """A forward that casts to one type and nothing else: it can't follow weights of another."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.head = nn.Linear(192, 5).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1).to(self.dtype))
        return logits


class Loud(nn.Module):
    """Logits that cancel: in bfloat16 nothing is left of their differences."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 5)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.head(x.flatten(1))
        return (z * 1e4 + 1e7).to(torch.bfloat16).float() - 1e7 if z.dtype == torch.bfloat16 else z


def test_a_precision_that_ruins_the_answers_is_not_used(
    images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    model = _model(Loud)
    with caplog.at_level(logging.WARNING, logger="harden"):
        prepared = prepare(model, images[:3], torch.bfloat16)
    assert prepared.precision == torch.float32
    assert "the logits of a copy in torch.bfloat16 differ" in caplog.text
    torch.testing.assert_close(prepared(images), _inference(model, images))
    # The record states the precision that was used, not the requested one.
    answers = prepared(images).argmax(1)
    for network, used in ((model, "float32"), (_model(Residual), "bfloat16")):
        y = answers if network is model else _inference(network, images).argmax(1)
        found = evaluate(network, (images, y), Linf("8/255"), pgd_suite(1, 1, torch.bfloat16))
        assert [record.spec["precision"] for record in found.attempts[:2]] == [used, used]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_forward_that_names_a_type_is_run_in_it(dtype: torch.dtype, images: Tensor) -> None:
    model = _model(lambda: NamesAType(dtype))
    prepared = prepare(model, images[:3])
    assert torch.equal(prepared(images), _inference(model, images))
    assert bool((_gradient(prepared, images) != 0).any())
    found = evaluate(model, (images, prepared(images).argmax(1)), Linf("8/255"), pgd_suite(2, 1))
    assert found.clean.count == len(images)


def test_no_gradient_reaches_weights_and_passes_are_counted(images: Tensor) -> None:
    model = _model(Residual)
    with counting(PassMeter()) as meter:
        prepared = prepare(model, images[:3])
        assert meter.passes == 0
        _gradient(prepared, images)
    assert meter.passes == 16
    assert all(weight.grad is None for weight in model.parameters())


def test_it_does_not_depend_on_what_the_caller_switched_on(images: Tensor) -> None:
    expected = prepare(_model(Residual), images[:3])(images)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        prepared = prepare(_model(Residual), images[:3].clone())
    assert prepared.folded == 2
    assert torch.equal(prepared(images), expected)


def test_networks_without_sense_are_not_folded_but_answer(images: Tensor) -> None:
    model = _model(Residual)
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)  # type: ignore[operator]
    prepared = prepare(model, images[:3])
    assert prepared.folded == 0
    assert bool(prepared(images).isnan().all())


def test_other_precisions_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"precision torch.float16"):
        prepare(_model(Residual), images, torch.float16)


def test_it_says_what_was_done(images: Tensor) -> None:
    assert prepare(_model(Residual), images).describe() == "2 BatchNorms folded, channels last, float32"


@pytest.mark.parametrize(
    ("able", "native"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"avx512_f": True, "amx_bf16": False}, False),
    ],
)
def test_native_bfloat16_is_what_the_processor_says(
    able: dict[str, bool], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert bfloat16_is_native() is native
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in an older torch
    assert not bfloat16_is_native()
