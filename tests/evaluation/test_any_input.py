"""Every attack of the suites on unusual and wrong inputs: a right answer or a clear one, never a crash."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import APGD, FAB, MIFGSM, PGD, RayS, Square, Targeted
from harden.data import Splits
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, evaluate, minimal_distances, standard
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.losses import DLR, EOT, CrossEntropy, Margin
from harden.models import Classifier
from harden.threats import L1, L2, Linf, Threat
from tests.models.zoo import Contiguous, body

SUITE = (
    Attempt("apgd-ce", APGD(steps=10), CrossEntropy),
    Attempt("apgd-dlr", APGD(steps=5), DLR),
    Attempt("mifgsm", MIFGSM(steps=5), Margin),
    Attempt("apgd-t", Targeted(APGD(steps=5), classes=3), DLR),
    Attempt("fab-t", Targeted(FAB(steps=5), classes=3), Margin),
    Attempt("square", Square(queries=20), Margin),
    Attempt("rays", RayS(queries=20), Margin),
    Attempt("eot", PGD(steps=3), EOT(Margin, samples=2)),
)
THREATS = pytest.mark.parametrize("threat", [Linf("0.1"), L2("1/2"), L1(2)], ids=repr)
Data = tuple[Tensor, Tensor]


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:40], digits.test.y[:40]


def adds_up(found: Evaluation) -> None:
    """Counts, bits and witnesses agree."""
    assert found.robust.count == int((found.clean_correct & ~found.broken).sum())
    assert sum(record.broken for record in found.attempts) == int(found.broken.sum()) == len(found.witnesses)
    assert not bool((found.broken & ~found.clean_correct).any())
    threat, witnesses = found.threat, found.witnesses
    assert bool(threat.contains(witnesses.witness, witnesses.original).all())


@THREATS
def test_one_image_in_one_batch(plain: Classifier, data: Data, threat: Threat) -> None:
    for row in range(3):
        found = evaluate(plain, (data[0][row : row + 1], data[1][row : row + 1]), threat, SUITE)
        adds_up(found)
        assert found.robust.n == 1


@THREATS
def test_a_class_that_is_absent_and_labels_that_are_permuted(
    plain: Classifier, data: Data, threat: Threat
) -> None:
    x, y = data
    some = y < 7
    found = evaluate(plain, (x[some], y[some]), threat, SUITE)
    adds_up(found)
    assert set(found.per_class()) == set(y[some].tolist())
    permuted = evaluate(plain, (x, (y + 3) % 10), threat, SUITE)
    adds_up(permuted)
    assert permuted.clean.count < 8


@THREATS
def test_all_misclassified_already(plain: Classifier, data: Data, threat: Threat) -> None:
    with torch.no_grad():
        y = (plain.logits(data[0]).argmax(1) + 1) % 10
    found = evaluate(plain, (data[0], y), threat, SUITE)
    adds_up(found)
    assert (found.clean.count, found.robust.count, len(found.witnesses)) == (0, 0, 0)
    assert all(record.attempted == 0 for record in found.attempts)


class Constant(nn.Module):
    """Answers the same whatever it sees, with a gradient that is zero or with none."""

    def __init__(self, attached: bool) -> None:
        super().__init__()
        self.head, self.attached = nn.Linear(4, 10), attached

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.arange(10.0, 0.0, -1.0).repeat(len(x), 1)
        return logits + 0 * x.flatten(1).sum(1, keepdim=True) if self.attached else logits


@pytest.mark.parametrize("attached", [True, False])
def test_a_constant_model_is_not_trusted(data: Data, attached: bool) -> None:
    with torch.random.fork_rng():
        model = Classifier(Constant(attached))
    # Without a gradient white-box attacks are refused, so the others are left.
    suite = SUITE if attached else tuple(one for one in SUITE if one.name in ("square", "rays"))
    y = torch.zeros_like(data[1])
    found = evaluate(model, (data[0], y), Linf("0.1"), suite)
    adds_up(found)
    assert (found.clean.count, found.robust.count) == (40, 40)
    assert found.status == "unreliable"
    assert "zero gradients" in {check.name for check in found.checks if not check.passed}


@THREATS
def test_a_network_that_needs_contiguous_memory_gets_it_in_every_attack(threat: Threat) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model, other = Classifier(Contiguous()).eval(), Classifier(body())
    rows = torch.rand(9, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    x = rows.permute(0, 3, 1, 2)  # channels last in memory, as arrays of images come
    with torch.no_grad():
        y = model(x.contiguous()).argmax(1)
    # The other network's images are laid out for itself, and the model confirms what it finds.
    transferred = Attempt("transfer", PGD(steps=2), source=other)
    found = evaluate_unchecked(model, (x, y), threat, (*SUITE, transferred))
    assert found.clean.count == len(x)
    adds_up(found)
    nearest = minimal_distances(model, (x, y), threat, FAB(steps=2))
    assert bool((nearest.distance > 0).all())


@pytest.mark.parametrize("classes", [2, 3, 1000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_number_of_classes_in_any_precision(classes: int, dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
        network.get_parameter("1.weight").data.mul_(3)
    model = Classifier(network.to(dtype))
    x = torch.rand(12, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = model.logits(x).argmax(1)
    before = copy.deepcopy(network.state_dict())
    found = evaluate(model, (x, y), Linf("0.3"), SUITE)
    adds_up(found)
    assert int(found.broken.sum()) > 2
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    notes = {record.name: record.spec.get("note") for record in found.attempts}
    assert (notes["apgd-t"] is not None) == (classes < 4)
    assert (notes["apgd-dlr"] is not None) == (classes < 3)


def test_a_single_logit_is_two_classes(line: Classifier) -> None:
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    network.load_state_dict({"1.weight": torch.ones(1, 4), "1.bias": torch.tensor([-2.0])})
    values = torch.tensor([0.3, 0.45, 0.55, 0.9])
    x, y = values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), torch.tensor([0, 0, 1, 1])
    one, two = (evaluate(model, (x, y), Linf("0.1"), SUITE) for model in (Classifier(network), line))
    adds_up(one)
    assert one.broken.tolist() == two.broken.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x * 255, y), "0"),
        (lambda x, y: (x - 0.5, y), "0"),
        (lambda x, y: (x.masked_fill(x > 0.9, torch.nan), y), "NaN|finite|number"),
        (lambda x, y: (x[:0], y[:0]), "no pixels"),
        (lambda x, y: (x, y[:-1]), "label|image|length"),
        (lambda x, y: (x, y + 10), "labels"),
        (lambda x, y: (x, y - 1), "label"),
        (lambda x, y: (x.repeat(1, 2, 1, 1), y), "channel|shape"),
        (lambda x, y: (x[0], y[:1]), "shape|image|length"),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(
    plain: Classifier, data: Data, spoil: object, message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        evaluate(plain, spoil(*data), Linf("0.1"), SUITE)  # type: ignore[operator]  # a lambda of the table
    assert "\n" not in str(raised.value)


# The same for everyone


def test_the_record_is_the_same_for_any_batch_size_and_number_of_threads(
    hardened: Classifier, digits: Splits
) -> None:
    """All attacks of `standard`, shortened: of 200 images at most 1 % differ, by ties of rounding."""
    data = (digits.test.x[:200], digits.test.y[:200])
    short = (
        Attempt("apgd-ce", APGD(steps=20), CrossEntropy),
        Attempt("apgd-t", Targeted(APGD(steps=10), classes=3), DLR),
        Attempt("apgd-margin", APGD(steps=10, restarts=2), Margin),
        Attempt("fab-t", Targeted(FAB(steps=5), classes=3), Margin),
        Attempt("square", Square(queries=60), Margin),
    )
    # Those made where gradients break few look at a batch as a whole.
    assert [one.name for one in short] == [one.name for one in standard() if not one.if_gradients_fail]
    threat = Linf("0.2")
    runs = [evaluate_unchecked(hardened, data, threat, short, batch_size=size) for size in (200, 64, 7)]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs.append(evaluate_unchecked(hardened, data, threat, short, batch_size=200))
    finally:
        torch.set_num_threads(threads)
    assert 20 < int(runs[0].broken.sum()) < 190
    for other in runs[1:]:
        assert int((other.broken_by != runs[0].broken_by).sum()) <= 2
        assert int((other.broken_at != runs[0].broken_at).sum()) <= 4


def test_the_same_seed_gives_the_same_bytes(plain: Classifier, data: Data) -> None:
    one, same = (evaluate(plain, data, Linf("0.1"), SUITE, seed=4) for _ in range(2))
    assert torch.equal(one.witnesses.witness, same.witnesses.witness)
    assert torch.equal(one.broken_at, same.broken_at)
    other = evaluate(plain, data, Linf("0.1"), SUITE, seed=5)
    assert not torch.equal(one.witnesses.witness, other.witnesses.witness)
