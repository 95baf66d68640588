"""The decision at a threshold, and sensitivity and specificity from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.artefact.classifier_to_onnx import trace
from harden.artefact.parity.parity_gated_export import exported
from harden.attacks import PGD
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import (
    Attempt,
    Evaluation,
    at_threshold,
    evaluate,
    operating_point,
    pgd_suite,
    thresholded,
)
from harden.losses import CrossEntropy, LossFunction, Margin, errs
from harden.models import Classifier, PassMeter, counting
from harden.threats import Linf, Threat

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
inside = st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True)


def log_odds(t: float) -> float:
    return math.log(t) - math.log1p(-t)


def answered(logits: Tensor, t: float) -> Tensor:
    return thresholded(lambda x: x, t)(logits)


@given(floats, floats, inside)
def test_argmax_is_the_decision(z0: float, z1: float, t: float) -> None:
    found = answered(torch.tensor([[z0, z1]]), t)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert int(found.argmax(1)) == int(z1 - z0 >= log_odds(t))


@given(st.floats(min_value=-5, max_value=5, width=32), inside)
def test_it_is_the_probability_that_is_compared(z: float, t: float) -> None:
    p = torch.tensor([[0.0, z]], dtype=torch.float64).softmax(1)[0, 1].item()
    if abs(p - t) > 1e-9:
        assert int(answered(torch.tensor([[0.0, z]]), t).argmax(1)) == int(p >= t)


def test_equality_is_positive() -> None:
    for z in (0.0, 3.0, -1e-30, 1e30):
        assert answered(torch.tensor([[z, z]]), 0.5).argmax(1).tolist() == [1]
    # In float64 logits the threshold's own log odds, where z_1 - z_0 is the number itself.
    for t in (0.1, 0.3, 0.5, 0.9, 1e-9):
        at = log_odds(t)
        rows = torch.tensor([[0.0, at], [0.0, math.nextafter(at, -math.inf)]], dtype=torch.float64)
        assert answered(rows, t).argmax(1).tolist() == [1, 0]


def test_logits_that_are_not_finite_stay_so() -> None:
    bad = torch.tensor([[math.nan, 0.0], [0.0, math.inf], [-math.inf, 1.0], [math.inf, math.inf]])
    assert not answered(bad, 0.3).isfinite().any()


def test_losses_go_by_the_threshold() -> None:
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    t, y = 0.2, torch.arange(50) % 2
    classify = thresholded(lambda x: x, t)
    ahead = (z[:, 1] - z[:, 0]).detach() - log_odds(t)
    expected = torch.where(y == 0, ahead, -ahead)
    assert torch.allclose(Margin(classify, y)(z), expected, atol=1e-6)
    assert torch.equal(errs(classify(z), y), (ahead >= 0).long() != y)
    # The prior of the classes, shifted by the threshold's odds, is all that the cross-entropy sees.
    weights = z.detach().softmax(1) * torch.tensor([t, 1 - t])
    wanted = -(weights / weights.sum(1, keepdim=True)).gather(1, y.unsqueeze(1)).log().squeeze(1)
    loss = CrossEntropy(classify, y)(z)
    assert torch.allclose(loss, wanted, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert torch.allclose(gradient.sum(1), torch.zeros(50), atol=1e-6)
    assert (gradient != 0).all()


def test_the_gradient_passes_where_the_decision_is_a_tie() -> None:
    z = torch.zeros(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(Margin(thresholded(lambda x: x, 0.5), torch.tensor([1]))(z).sum(), z)
    assert gradient.tolist() == [[1.0, -1.0]]


BAD: list[Any] = [0, 1, 0.0, 1.0, -0.1, 1.5, math.nan, math.inf, True, None, "0.5"]


@pytest.mark.parametrize("t", BAD, ids=repr)
def test_a_threshold_that_is_none_is_refused(t: Any, line: Classifier) -> None:
    for make in (lambda: thresholded(line.logits, t), lambda: at_threshold(line, t)):
        with pytest.raises(InputError, match=r"a decision threshold of .*; expected a probability in"):
            make()


@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4,), (4, 10)])
def test_other_than_two_logits_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected logits of two classes"):
        answered(torch.zeros(shape), 0.3)


def test_no_classifier_and_a_second_threshold_are_refused(line: Classifier) -> None:
    with pytest.raises(InputError, match=r"a Sequential; expected a harden.Classifier"):
        at_threshold(nn.Sequential(), 0.3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a model with the threshold 0.3"):
        at_threshold(at_threshold(line, 0.3), 0.4)


# A classifier at a threshold


class Two(nn.Module):
    """Half, as a tuple or with a single logit, as users' networks are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(4 * 36, 1 if kind == "single" else 2)

    def forward(self, x: Tensor) -> Any:
        z = self.last(self.body(x))
        return {"other": x, "answer": z} if self.kind == "dict" else z


def two(kind: str = "plain") -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Two(kind)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean = 0.1 * torch.randn(4)
        network.last.weight.data.mul_(10)
    network.body[1].eval()
    if kind == "half":
        network.half()
    return Classifier(network, (0.4,), (0.2,), output="answer" if kind == "dict" else None)


def pictures(n: int = 60) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, (x.mean((1, 2, 3)) > 0.5).long()


@pytest.mark.parametrize("kind", ["plain", "dict", "single", "half"])
def test_a_classifier_at_a_threshold_shifts_its_logits_and_shares_its_weights(kind: str) -> None:
    model, (x, _) = two(kind).eval(), pictures()
    at = at_threshold(model, 0.8)
    with torch.no_grad(), counting(PassMeter()) as meter:
        assert torch.equal(at(x), thresholded(model.logits, 0.8)(x))
    assert meter.passes == pytest.approx(2 * 60 / 3)  # each of the two counted once
    assert {id(w) for w in at.parameters()} == {id(w) for w in model.parameters()}
    assert at.head is model.head
    assert at.device == model.device
    assert torch.equal(at.features(x), model.features(x))


def flags(model: nn.Module) -> list[Any]:
    return [(part.training, sorted(vars(part))) for part in model.modules()]


@pytest.mark.parametrize("t", [0.02, 0.3, 0.97])
def test_an_evaluation_at_a_threshold_is_one_by_hand(t: float, rng_untouched: None) -> None:
    model, (x, y) = two(), pictures()
    before, weights = flags(model), {k: v.clone() for k, v in model.state_dict().items()}
    found = evaluate(at_threshold(model, t), (x, y), Linf("1/50"), pgd_suite(5, 1))
    judged = evaluate(
        at_threshold(model, t),
        (x, y),
        Linf("1/50"),
        pgd_suite(5, 1),
        judge=thresholded(model.logits, t),
    )
    assert torch.equal(found.robust_correct, judged.robust_correct)
    assert flags(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        decided = [
            (model(part).double().softmax(1)[:, 1] >= t).long() for part in (x, found.witnesses.witness)
        ]
    assert torch.equal(decided[0], found.predictions)
    assert torch.equal(decided[1], found.witnesses.prediction)
    assert (found.witnesses.prediction != found.witnesses.label).all()
    assert found.status == "ok"


def test_the_attack_looks_for_errors_at_the_threshold() -> None:
    """At the argmax these images are robust; at the threshold they are broken, by an attack that uses it."""
    model, (x, y) = two().eval(), pictures(40)
    t = 0.9
    classify = thresholded(model.logits, t)
    threat, draws = Linf("1/100"), Draws(0, torch.arange(40))
    x_adv = PGD(steps=10)(Margin(classify, y), x, threat, draws)
    right = ~errs(classify(x), y)
    assert int((errs(classify(x_adv), y) & right).sum()) > 0
    assert not (errs(classify(x_adv), y) < errs(classify(x), y)).any()  # no witness is traded


def test_sensitivity_falls_with_the_threshold_and_specificity_rises() -> None:
    model, data = two(), pictures()
    points = []
    for t in (0.001, 0.2, 0.5, 0.8, 0.999):
        point = operating_point(evaluate(at_threshold(model, t), data, Linf(0), pgd_suite(1, 1)))
        assert point.sensitivity is not None
        assert point.specificity is not None
        points.append((point.sensitivity.clean.count, -point.specificity.clean.count))
    assert points == sorted(points, reverse=True)
    assert points[0] > points[-1]


def test_what_is_exported_knows_nothing_of_a_threshold() -> None:
    model, (x, y) = two(), pictures(15)
    threat = Linf("1/100")
    content, session, _ = exported(model, x, y, threat)
    at = at_threshold(model, 0.9)
    evaluate(at, (x, y), threat, pgd_suite(1, 1))
    assert trace(model, (1, 8, 8)).SerializeToString(deterministic=True) == content
    # What is exported from the classifier at the threshold passes the gate, and answers by the threshold.
    _, shipped, _ = exported(at, x, y, threat)
    decided, usual = (each(x.numpy()).argmax(1) for each in (shipped, session))
    with torch.no_grad():
        expected = thresholded(model.eval().logits, 0.9)(x).argmax(1)
    assert np.array_equal(decided, expected.numpy())
    assert not np.array_equal(decided, usual)


# The operating point


def found_with(labels: list[int], predictions: list[int], broken: list[int]) -> Evaluation:
    """An evaluation of images of one grey each, with given verdicts."""
    n = len(labels)
    x = torch.linspace(0.1, 0.9, n).view(n, 1, 1, 1).expand(n, 1, 2, 2).clone()
    answers = dict(zip(x[:, 0, 0, 0].tolist(), zip(labels, predictions, broken, strict=True), strict=True))

    def judge(at: Tensor) -> Tensor:
        rows = []
        for value in at[:, 0, 0, 0].tolist():
            near = min(answers, key=lambda grey: abs(grey - value))
            label, prediction, falls = answers[near]
            moved = value != near
            rows.append([0.0, 2.0 * (prediction if not (moved and falls) else 1 - label) - 1.0])
        return torch.tensor(rows)

    def move(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return x + 1e-3

    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    return evaluate(model, (x, torch.tensor(labels)), Linf("1/100"), [Attempt("m", move)], judge=judge)


def test_the_operating_point_counts_by_class() -> None:
    found = found_with([1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0])
    point = operating_point(found)
    assert point.sensitivity is not None
    assert point.specificity is not None
    sensitivity, specificity = point.sensitivity, point.specificity
    assert (sensitivity.clean.count, sensitivity.robust.count, sensitivity.clean.n) == (3, 2, 4)
    assert (specificity.clean.count, specificity.robust.count, specificity.clean.n) == (2, 1, 3)
    assert (point.prevalence.count, point.prevalence.n) == (4, 7)
    assert point.missing == ()
    assert point.status == found.status
    other = operating_point(found, positive=0)
    assert (other.sensitivity, other.specificity) == (specificity, sensitivity)
    assert other.prevalence.count == 3


@pytest.mark.parametrize("label", [0, 1])
def test_an_absent_class_is_none_and_said(label: int) -> None:
    point = operating_point(found_with([label] * 3, [0, 1, label], [0, 0, 0]))
    assert (point.sensitivity is None) == (label == 0)
    assert (point.specificity is None) == (label == 1)
    what = ("positive", "sensitivity") if label == 0 else ("negative", "specificity")
    assert point.missing == (f"no {what[0]} image among 3: nothing is known of {what[1]}",)
    assert point.prevalence.count == 3 * label


def test_more_than_two_classes_have_no_operating_point() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        many = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    x, y = pictures(40)
    # The labels alone may not show it: these are of two classes, and the answers are not.
    found = evaluate(many, (x, y), Linf(0), pgd_suite(1, 1))
    assert int(found.labels.max()) == 1
    with pytest.raises(InputError, match=r"an evaluation with class \d; expected one of two classes"):
        operating_point(found)
    with pytest.raises(InputError, match=r"positive class 2; expected 0 or 1"):
        operating_point(found_with([0, 1], [0, 1], [0, 0]), positive=2)
