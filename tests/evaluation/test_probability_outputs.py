"""Outputs other than logits: reported, converted or refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Splits
from harden.errors import InputError
from harden.evaluation import Attempt, evaluate, pgd_suite
from harden.evaluation.probability_outputs import OutputKind, as_logits, output_of
from harden.losses import DLR, Margin
from harden.models import Classifier
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("0.1")


def rows(n: int = 20, classes: int = 5, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(0))


class After(nn.Module):
    """A network with a layer behind its logits."""

    def __init__(self, network: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor) -> Tensor:
        after: Tensor = self.layer(self.network(x))
        return after


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_each_kind_is_told(classes: int, dtype: torch.dtype) -> None:
    logits = rows(classes=classes)
    assert output_of(logits.to(dtype)) is OutputKind.LOGITS
    if dtype in (torch.float32, torch.float64):  # half a precision does not sum to one
        assert output_of(logits.to(dtype).softmax(1)) is OutputKind.PROBABILITIES
        assert output_of(logits.to(dtype).log_softmax(1)) is OutputKind.LOG_PROBABILITIES


def test_what_can_not_be_told_counts_as_logits() -> None:
    assert output_of(torch.zeros(0, 3)) is OutputKind.LOGITS
    assert output_of(torch.full((4, 3), torch.nan)) is OutputKind.LOGITS
    assert output_of(torch.zeros(4, 1)) is OutputKind.LOGITS
    assert output_of(-rows().abs()) is OutputKind.LOGITS
    assert output_of(rows().sigmoid()) is OutputKind.LOGITS


def test_rows_that_are_not_finite_do_not_hide_the_others() -> None:
    p = rows().softmax(1)
    p[3] = torch.nan
    assert output_of(p) is OutputKind.PROBABILITIES


def test_a_softmax_is_undone() -> None:
    logits = rows()
    undone = as_logits(lambda x: x.softmax(1), OutputKind.PROBABILITIES)(logits)
    torch.testing.assert_close(undone, logits.log_softmax(1), rtol=1e-4, atol=1e-5)
    assert as_logits(torch.relu, OutputKind.LOGITS) is torch.relu
    assert bool(as_logits(lambda x: x, OutputKind.PROBABILITIES)(torch.tensor([[0.0, 1.0]])).isfinite().all())


def test_an_evaluation_of_probabilities_is_that_of_the_logits(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:150], digits.test.y[:150])
    suite = (*pgd_suite(10, 1), Attempt("dlr", PGD(10), DLR))
    expected = evaluate(plain, data, THREAT, suite)
    assert (expected.output, 0 < expected.robust.count < 150) == ("logits", True)
    for layer, kind in ((nn.Softmax(1), "probabilities"), (nn.LogSoftmax(1), "log-probabilities")):
        model = Classifier(After(plain.network, layer))
        found = evaluate(model, data, THREAT, suite)
        assert found.output == kind
        assert torch.equal(found.predictions, expected.predictions)
        # The same loss but for rounding: a few images may fall either way.
        assert abs(found.robust.count - expected.robust.count) <= 2
        with torch.no_grad():
            again = model.logits(found.witnesses.witness).argmax(1)
        assert torch.equal(again, found.witnesses.prediction)


def test_a_sigmoid_that_was_read_as_a_logit_is_refused() -> None:
    z = torch.linspace(-3, 3, 20)
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Sigmoid())
    network.load_state_dict({"1.weight": torch.full((1, 4), 3.0), "1.bias": torch.tensor([-6.0])})
    x = (z / 6 + 0.5).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    y = (z > 0).long()
    with pytest.raises(InputError, match="sigmoid"):
        evaluate(Classifier(network), (x, y), Linf("0.01"), pgd_suite(2, 1))
    found = evaluate(Classifier(network[:2]), (x, y), Linf("0.01"), pgd_suite(2, 1))
    assert found.clean.value == 1.0


def test_small_logits_of_one_output_are_no_sigmoid() -> None:
    zeros = torch.zeros(30)
    for values in (torch.linspace(0.45, 0.55, 30), torch.linspace(-0.1, 0.9, 30)):
        assert output_of(torch.stack((zeros, values), 1)) is OutputKind.LOGITS


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_where_the_ratio_is_not_defined_the_margin_stands_in_and_says_so(classes: int) -> None:
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, classes))
    generator = torch.Generator().manual_seed(0)
    network.load_state_dict(
        {"1.weight": torch.randn(classes, 4, generator=generator), "1.bias": torch.zeros(classes)}
    )
    model = Classifier(network)
    x = torch.rand(30, 1, 2, 2, generator=generator)
    data = (x, model.logits(x).argmax(1))
    ratio = Attempt("dlr", PGD(10), DLR)
    found = evaluate(model, data, THREAT, [ratio])
    said = found.attempts[0].spec
    if classes == 2:
        assert "margin" in str(said["note"])
        assert said["loss"] == "harden.losses:Margin"
        again = evaluate(model, data, THREAT, [Attempt("margin", PGD(10), Margin)])
        assert torch.equal(found.broken, again.broken)
    else:
        assert "note" not in said
    assert 0 < int(found.broken.sum()) < 30


def test_a_class_that_is_masked_on_every_image_is_named() -> None:
    """Every image would count as wrong, clean accuracy be 0 and no check fire."""
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    rows[:, 2] = -torch.inf
    with pytest.raises(InputError, match=r"-inf for class 2 on all 6 images.*-1e4"):
        output_of(rows)
    rows[0, 2] = 1.0  # on some images alone it is their own matter
    assert output_of(rows) is OutputKind.LOGITS
    assert output_of(torch.full((3, 2), -torch.inf)) is OutputKind.LOGITS  # which is no mask


def test_images_without_an_answer_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A logarithm of a negative number on some images, a masked class on others."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            z = self.fc(x.flatten(1))
            dark = x[:, 0, 0, :1] < 0.3
            z = torch.where(dark, (x[:, 0, 0, :1] - 1).log(), z)
            masked = torch.tensor([0.0, 0, 0, -torch.inf])
            return z + torch.where(x[:, 0, 0, 1:2] < 0.3, masked, 0.0)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(Broken())
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = model(x)
    lost = int((~logits.isfinite().all(1)).sum())
    assert 10 < lost < 30
    found = evaluate(model, (x, logits.nan_to_num().argmax(1)), THREAT, pgd_suite(1, 1))
    assert found.unanswered == lost
    assert found.clean.count <= 40 - lost
    assert f"{lost} of 40 images have a logit that is NaN or infinite" in caplog.text
