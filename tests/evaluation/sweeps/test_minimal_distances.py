"""Distances of the nearest errors: upper bounds that hold, and a curve that never rises."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import FAB, Nearest, Targeted
from harden.data import Splits
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Distances, evaluate, minimal_distances, pgd_suite
from harden.losses import LossFunction
from harden.models import Classifier
from harden.threats import L1, L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

Data = tuple[Tensor, Tensor]


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:60], digits.test.y[:60]


def grey(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


@pytest.mark.parametrize(("threat", "unit"), [(Linf(1), 1.0), (L2(1), 2.0), (L1(1), 4.0)])
def test_on_a_line_they_are_the_closed_form(line: Classifier, threat: Threat, unit: float) -> None:
    x, y = grey(0.3, 0.45, 0.6, 0.9, 0.2), torch.tensor([0, 0, 1, 1, 1])
    found = minimal_distances(line, (x, y), threat, FAB(steps=20), batch_size=2)
    expected = unit * torch.tensor([0.2, 0.05, 0.1, 0.4, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found.distance, expected, rtol=2e-3, atol=1e-6)
    assert found.distance[-1] == 0
    assert found.passes > 0


def test_the_curve_never_rises_and_begins_at_clean(plain: Classifier, data: Data) -> None:
    found = minimal_distances(plain, data, Linf("0.1"), Targeted(FAB(steps=10), classes=3))
    points = found.curve(["1/2", 0, "1/10", "1/20", 1])
    counts = [share.count for _, share in points]
    assert [eps for eps, _ in points] == [0, Fraction(1, 20), Fraction(1, 10), Fraction(1, 2), 1]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == evaluate(plain, data, Linf("0.1"), pgd_suite(1, 1)).clean.count
    assert counts[-1] == 0
    assert 0 < found.median < 1


def test_known_witnesses_count_where_they_are_nearer(plain: Classifier, data: Data) -> None:
    known = evaluate(plain, data, Linf("0.1"), pgd_suite(10, 1))
    few = FAB(steps=1)
    alone = minimal_distances(plain, data, Linf("0.1"), few)
    found = minimal_distances(plain, data, Linf("0.1"), few, known=known)
    assert bool((found.distance <= alone.distance).all())
    assert bool((found.distance < alone.distance).any())
    assert found.robust_at("0.1").count <= known.robust.count
    with pytest.raises(InputError, match="same data"):
        minimal_distances(plain, (data[0][:9], data[1][:9]), Linf("0.1"), few, known=known)


def test_a_distance_that_an_attack_makes_up_is_not_believed(line: Classifier) -> None:
    class Liar:
        def nearest(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Nearest:
            return Nearest(x + 2.0, torch.full((len(x),), 1e-9, dtype=torch.float64))

    x, y = grey(0.3, 0.9), torch.tensor([0, 1])
    found = minimal_distances(line, (x, y), Linf(1), Liar())
    # Moved into the box both are white: an error for the first, and far away.
    assert found.distance.tolist() == pytest.approx([0.7, float("inf")])


def test_the_judge_decides(line: Classifier) -> None:
    x, y = grey(0.3, 0.9), torch.tensor([0, 1])
    shifted = minimal_distances(
        line, (x, y), Linf(1), FAB(steps=10), judge=lambda x: line.logits((x - 0.1).clamp(0, 1))
    )
    assert shifted.distance[0] == float("inf") or shifted.distance[0] >= 0.299


def test_an_eps_at_the_distance_itself_claims_nothing() -> None:
    found = Distances(Linf(1), torch.tensor([0.1, 0.3, 0.0, float("inf")], dtype=torch.float64), 0.0)
    assert found.robust_at(0).count == 3
    assert found.robust_at("1/10").count == 3  # 0.1 is a rounded number: not sure, so not broken
    assert found.robust_at("0.1001").count == 2
    assert found.robust_at(10**9).count == 1
    assert found.median == pytest.approx(0.1)


def test_what_is_no_data_is_refused(line: Classifier) -> None:
    with pytest.raises(InputError, match="no batches"):
        minimal_distances(line, [], Linf(1))
    with pytest.raises(InputError):
        minimal_distances(line, (grey(0.3) * 300, torch.tensor([0])), Linf(1))
    with pytest.raises(InputError, match="Classifier"):
        minimal_distances(nn.Flatten(), (grey(0.3), torch.tensor([0])), Linf(1))  # type: ignore[arg-type]
