from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.attacks import PGD, Attack
from harden.data import Splits, from_loader
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, pgd_suite
from harden.evaluation.robust_accuracy import (
    evaluate_unchecked as evaluate,  # closing checks have tests of their own
)
from harden.losses import CrossEntropy, FastCopyLoss, LossFunction, Margin
from harden.models import Classifier, PassMeter, counting
from harden.threats import L1, L2, Linf, Threat

THREAT = Linf("0.1")
SUITE = pgd_suite(steps=5, restarts=1)


def attempt(attack: Attack, name: str = "mine") -> Attempt:
    return Attempt(name, attack)


def nothing(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    return x


def grey(*values: float) -> Tensor:
    """Images (1, 2, 2) of one grey each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def darker(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    return x - float(threat.eps)


def brighter(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    return x + float(threat.eps)


# On `line` an image of grey g has class [g > 1/2]; with eps 0.1 it can be broken within 0.1 of 1/2.
GREYS = grey(0.1, 0.45, 0.55, 0.9, 0.45, 0.3)
LABELS = torch.tensor([0, 0, 1, 1, 1, 0])  # the fifth is wrong from the start


def bits(mask: Tensor) -> list[int]:
    return [int(bit) for bit in mask]


# The worst case


def test_robust_is_right_when_clean_and_unbroken_by_any_attempt(line: Classifier) -> None:
    found = evaluate(line, (GREYS, LABELS), THREAT, [attempt(brighter, "up"), attempt(darker, "down")])
    assert bits(found.clean_correct) == [1, 1, 1, 1, 0, 1]
    assert bits(found.broken) == [0, 1, 1, 0, 0, 0]
    assert bits(found.robust_correct) == [1, 0, 0, 1, 0, 1]
    assert (found.clean.count, found.robust.count, found.robust.n) == (5, 3, 6)
    assert found.labels.tolist() == LABELS.tolist()
    assert found.predictions.tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_each_attempt_meets_only_what_still_stands(line: Classifier, batch_size: int) -> None:
    queried: list[int] = []

    def counted(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        queried.append(len(x))
        return x

    suite = [attempt(brighter, "up"), attempt(brighter, "again"), attempt(darker, "down"), attempt(counted)]
    found = evaluate(line, (GREYS, LABELS), THREAT, suite, batch_size=batch_size)
    records = {record.name: record for record in found.attempts}
    assert [record.name for record in found.attempts] == ["up", "again", "down", "mine"]
    assert [(r.attempted, r.broken, r.robust.count) for r in found.attempts] == [
        (5, 1, 4),
        (4, 0, 4),
        (4, 1, 3),
        (3, 0, 3),
    ]
    assert sum(queried) == records["mine"].attempted
    assert all(record.robust.n == 6 for record in found.attempts)
    assert found.attempts[-1].robust == found.robust


def test_the_union_is_taken_per_example_and_the_order_of_attempts_does_not_matter(
    plain: Classifier, digits: Splits
) -> None:
    data = (digits.test.x[:100], digits.test.y[:100])
    one, other = SUITE
    alone = [evaluate(plain, data, THREAT, [each]) for each in (one, other)]
    # Seeds are per place, so the second place is reproduced by an idle attempt before it.
    second = evaluate(plain, data, THREAT, [attempt(nothing), other])
    both = evaluate(plain, data, THREAT, [one, other])
    assert torch.equal(both.broken, alone[0].broken | second.broken)
    assert both.robust.count <= min(each.robust.count for each in alone)


def test_at_eps_zero_robust_is_clean_bit_for_bit(plain: Classifier, digits: Splits) -> None:
    for threat in (Linf(0), L2(0), L1(0)):
        found = evaluate(plain, (digits.test.x, digits.test.y), threat, SUITE, batch_size=37)
        assert not found.broken.any()
        assert torch.equal(found.robust_correct, found.clean_correct)
        assert 0 < found.clean.count < found.clean.n
        assert len(found.witnesses) == 0


@pytest.mark.parametrize("threat", [Linf("0.1"), L2("1/2"), L1(2), Linf("8/255"), Linf("1")], ids=repr)
def test_every_witness_breaks_the_claim_by_exact_arithmetic(
    plain: Classifier, digits: Splits, threat: Threat
) -> None:
    x, y = digits.test.x[:60], digits.test.y[:60]
    found = evaluate(plain, (x, y), threat, SUITE, batch_size=25)
    w = found.witnesses
    assert len(w) == int(found.broken.sum()) > 0
    assert w.index.tolist() == found.broken.nonzero().flatten().tolist()
    assert torch.equal(w.label, y[w.index])
    assert torch.equal(w.original, x[w.index])
    assert w.witness.dtype == torch.float32
    assert bool(found.clean_correct[w.index].all())
    with torch.no_grad():
        assert torch.equal(plain.logits(w.witness).argmax(1), w.prediction)
    assert bool((w.prediction != w.label).all())
    for witness, original in zip(w.witness, w.original, strict=True):
        pairs = zip(witness.flatten().tolist(), original.flatten().tolist(), strict=True)
        gaps = [abs(Fraction(a) - Fraction(b)) for a, b in pairs]
        size = max(gaps) if threat.name == "linf" else sum(gap**2 for gap in gaps)
        assert size <= (threat.eps if threat.name == "linf" else threat.eps**2)
        assert all(0 <= pixel <= 1 for pixel in witness.flatten().tolist())


def test_robust_is_never_above_clean_and_falls_with_eps(hardened: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:150], digits.test.y[:150])
    counts = [evaluate(hardened, data, Linf(eps), SUITE).robust.count for eps in ("0", "0.1", "0.2", "0.5")]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > counts[2] > counts[3]
    assert counts[3] <= 2  # at half the range a digit can be painted over


def test_hardening_shows(plain: Classifier, hardened: Classifier, digits: Splits) -> None:
    data = (digits.test.x, digits.test.y)
    before, after = (evaluate(model, data, THREAT, SUITE).robust for model in (plain, hardened))
    assert after.interval[0] > before.interval[1]


# An attack is not believed


@dataclass
class Liar:
    """Returns what it must not; `correct` is what an honest judgement comes to on `line`."""

    make: Callable[[Tensor, Threat], Tensor]

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return self.make(x, threat)


LIES: dict[str, Callable[[Tensor, Threat], Tensor]] = {
    "far outside the ball": lambda x, threat: torch.where(x > 0.5, 0.0, 1.0),
    "outside the box": lambda x, threat: torch.where(x > 0.5, -100.0, 100.0),
    "float64": lambda x, threat: torch.where(x > 0.5, 0.0, 1.0).double(),
    "bfloat16": lambda x, threat: torch.where(x > 0.5, x - 0.1, x + 0.1).bfloat16(),
    "with a graph": lambda x, threat: torch.where(x > 0.5, 0.0, 1.0).requires_grad_() * 1,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("threat", [Linf("0.1"), L2("0.2")], ids=repr)
def test_what_lies_outside_is_brought_back_and_judged_anew(
    line: Classifier, lie: Callable[[Tensor, Threat], Tensor], threat: Threat
) -> None:
    found = evaluate(line, (GREYS, LABELS), threat, [attempt(Liar(lie))])
    # An L2 ball of 0.2 holds a change of 0.1 in each of four pixels: both threats reach the same greys.
    assert bits(found.broken) == [0, 1, 1, 0, 0, 0]
    assert bool(threat.contains(found.witnesses.witness, found.witnesses.original).all())
    assert found.status == "ok"


@pytest.mark.parametrize("threat", [Linf("0.1"), L2("0.2")], ids=repr)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_breaks_nothing_out_of_reach(
    line: Classifier, threat: Threat, value: float
) -> None:
    found = evaluate(
        line, (GREYS, LABELS), threat, [attempt(Liar(lambda x, threat: torch.full_like(x, value)))]
    )
    assert bits(found.broken & torch.tensor([True, False, False, True, True, True])) == [0] * 6
    assert bool(threat.contains(found.witnesses.witness, found.witnesses.original).all())
    if value != value:
        assert len(found.witnesses) == 0


def test_a_wrong_shape_is_an_error(line: Classifier) -> None:
    for shape in ((1, 1, 2, 2), (5, 1, 2, 1), (5, 4)):
        lie = Liar(lambda x, threat, shape=shape: torch.zeros(shape))  # type: ignore[misc]
        with pytest.raises(InputError):
            evaluate(line, (GREYS, LABELS), THREAT, [attempt(lie)])


def test_an_attack_that_writes_on_its_arguments_moves_neither_ball_nor_label(line: Classifier) -> None:
    def moves_the_ball(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        x.fill_(0.5)
        draws.ids.zero_()
        return x + 0.09

    def changes_the_label(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        assert isinstance(loss, FastCopyLoss)
        assert isinstance(loss.fast, CrossEntropy)
        loss.fast.y.copy_(1 - loss.fast.y)
        return x

    x, y = GREYS.clone(), LABELS.clone()
    both = [attempt(moves_the_ball, "ball"), attempt(changes_the_label, "label")]
    found = evaluate(line, (x, y), THREAT, both)
    assert torch.equal(x, GREYS)
    assert torch.equal(y, LABELS)
    assert bool(THREAT.contains(found.witnesses.witness, x[found.witnesses.index]).all())
    # Around its own image 0.59 becomes 0.2, 0.55, 0.59, 0.8 and 0.4: the second alone changes its class.
    assert bits(found.broken) == [0, 1, 0, 0, 0, 0]
    assert found.witnesses.label.tolist() == [0]
    assert found.attempts[1].broken == 0


def test_an_unmoved_image_keeps_its_verdict_even_if_the_judge_wavers(line: Classifier) -> None:
    # Floating point gives an image other last bits in another batch: it must not count as broken.
    calls = []

    def wavering(x: Tensor) -> Tensor:
        calls.append(len(x))
        logits = line.logits(x)
        return logits if len(calls) == 1 else -logits

    found = evaluate(line, (GREYS, LABELS), THREAT, [attempt(nothing)], judge=wavering)
    assert not found.broken.any()
    assert calls == [6]


def test_the_judge_decides_and_the_model_only_gives_gradients(line: Classifier) -> None:
    def strict(x: Tensor) -> Tensor:
        """Class 1 only from a grey of 0.6 on."""
        bright = (x.flatten(1).mean(1) > 0.599).float()
        return torch.stack((0.5 - bright, bright - 0.5), 1)

    x, y = grey(0.55, 0.65, 0.9, 0.45), torch.tensor([0, 1, 1, 0])
    found = evaluate(line, (x, y), THREAT, [Attempt("pgd", PGD(steps=3, random_start=False))], judge=strict)
    # The model would call the first 1: wrong. The judge calls it 0, and 0.65 falls at its own threshold.
    assert bits(found.clean_correct) == [1, 1, 1, 1]
    assert bits(found.broken) == [1, 1, 0, 0]
    assert found.witnesses.prediction.tolist() == [1, 0]


# Odd models and data


class Network(nn.Module):
    """z = f(x) + a head that is there to be found."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def towards_zero(x: Tensor) -> Tensor:
    total = x.flatten(1).sum(1) - 2
    return torch.stack((-total, total), 1)


def test_a_model_that_answers_nan_is_right_about_nothing() -> None:
    def partly(x: Tensor) -> Tensor:
        logits = towards_zero(x)
        dark = x.flatten(1).amax(1, keepdim=True) < 0.2
        return torch.where(dark, torch.full_like(logits, torch.nan), logits)

    found = evaluate(Classifier(Network(partly)), (GREYS, LABELS), THREAT, [attempt(darker)])
    assert found.predictions.tolist() == [-1, 0, 1, 1, 0, 0]
    assert not found.clean_correct[0]
    everywhere = Classifier(Network(lambda x: towards_zero(x) * torch.nan))
    found = evaluate(everywhere, (GREYS, LABELS), THREAT, SUITE)
    assert found.clean.count == found.robust.count == 0
    assert found.predictions.tolist() == [-1] * 6


def test_an_infinite_logit_is_no_answer_either() -> None:
    sure = Classifier(Network(lambda x: towards_zero(x) * torch.inf))
    assert evaluate(sure, (GREYS, LABELS), THREAT, SUITE).clean.count == 0


def test_a_point_at_which_the_model_answers_nan_is_a_witness(line: Classifier) -> None:
    def fragile(x: Tensor) -> Tensor:
        return torch.where(x.flatten(1).amax(1, keepdim=True) > 0.95, torch.nan, towards_zero(x))

    found = evaluate(Classifier(Network(fragile)), (GREYS, LABELS), THREAT, [attempt(brighter)])
    assert bits(found.broken) == [0, 1, 0, 1, 0, 0]
    assert found.witnesses.prediction.tolist() == [1, -1]


def test_a_constant_model_is_right_about_its_class_and_flagged() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    network.load_state_dict({"1.weight": torch.zeros(2, 4), "1.bias": torch.tensor([0.0, 1.0])})
    found = evaluate(Classifier(network), (GREYS, LABELS), THREAT, SUITE)
    assert found.predictions.tolist() == [1] * 6
    assert found.clean.count == found.robust.count == 3
    assert found.status == "unreliable"


def test_ties_go_to_the_first_class() -> None:
    found = evaluate(Classifier(Network(lambda x: x.flatten(1)[:, :2] * 0)), (GREYS, LABELS), THREAT, SUITE)
    assert found.predictions.tolist() == [0] * 6


@pytest.mark.parametrize("where", [0, 5])
@pytest.mark.parametrize("batch_size", [1, 6])
def test_labels_beyond_the_classes_are_an_input_error(line: Classifier, where: int, batch_size: int) -> None:
    y = LABELS.clone()
    y[where] = 2
    with pytest.raises(InputError, match="2 logits") as caught:
        evaluate(line, (GREYS, y), THREAT, SUITE, batch_size=batch_size)
    assert caught.value.expected == "labels 0 to 1"


@pytest.mark.parametrize("bad", [255.0, -0.5, torch.nan])
def test_pixels_out_of_range_are_an_input_error(line: Classifier, bad: float) -> None:
    x = GREYS.clone()
    x[3, 0, 0, 0] = bad
    with pytest.raises(InputError):
        evaluate(line, (x, LABELS), THREAT, SUITE)


def test_no_attempts_or_no_examples_are_input_errors(line: Classifier) -> None:
    with pytest.raises(InputError, match="standard"):
        evaluate(line, (GREYS, LABELS), THREAT, [])
    with pytest.raises(InputError):
        evaluate(line, (GREYS[:0], LABELS[:0]), THREAT, SUITE)
    with pytest.raises(InputError):
        evaluate(line, iter([]), THREAT, SUITE)


def test_per_class_sums_to_the_whole_and_leaves_absent_classes_out(plain: Classifier, digits: Splits) -> None:
    keep = digits.test.y != 4
    found = evaluate(plain, (digits.test.x[keep], digits.test.y[keep]), THREAT, SUITE)
    classes = found.per_class()
    assert sorted(classes) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    for part, whole in ((0, found.clean), (1, found.robust)):
        assert sum(each[part].count for each in classes.values()) == whole.count
        assert sum(each[part].n for each in classes.values()) == whole.n
    for label, (clean, robust) in classes.items():
        mine = found.labels == label
        assert clean.count == int((found.predictions[mine] == label).sum())
        assert robust.count == int((found.robust_correct & mine).sum())
        assert robust.n == int(mine.sum())
    assert len({robust.value for _, robust in classes.values()}) > 1


# The same verdict, however the data come


class Starts:
    """Looks at random starts and goes no further."""

    def __init__(self) -> None:
        self.by_id: dict[int, Tensor] = {}

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        start = threat.start(x, draws)
        self.by_id.update(zip(draws.ids.tolist(), start, strict=True))
        return x


def test_random_starts_do_not_depend_on_the_batch_size(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:70], digits.test.y[:70])
    starts = []
    for batch_size in (1, 7, 64):
        spy = Starts()
        evaluate(plain, data, THREAT, [attempt(spy)], batch_size=batch_size)
        starts.append(spy.by_id)
    assert len(starts[0]) > 50
    for other in starts[1:]:
        assert other.keys() == starts[0].keys()
        assert all(torch.equal(other[example], start) for example, start in starts[0].items())
    spy = Starts()
    evaluate(plain, data, THREAT, [attempt(spy)], seed=1)
    assert not any(torch.equal(spy.by_id[example], start) for example, start in starts[0].items())


def test_attempts_start_at_points_of_their_own(plain: Classifier, digits: Splits) -> None:
    one, other = Starts(), Starts()
    both = [attempt(one, "one"), attempt(other, "other")]
    evaluate(plain, (digits.test.x[:9], digits.test.y[:9]), THREAT, both)
    assert one.by_id.keys() == other.by_id.keys()
    assert not any(torch.equal(one.by_id[example], other.by_id[example]) for example in one.by_id)


def test_verdicts_do_not_depend_on_the_batch_size(plain: Classifier, digits: Splits) -> None:
    # Convolutions round differently in other batch sizes, so a gradient's sign could flip where it is all but
    # zero; on these 599 images none of the verdicts does. On another machine at most one in a hundred may.
    data = (digits.test.x, digits.test.y)
    found = [evaluate(plain, data, THREAT, SUITE, batch_size=size) for size in (7, 64, 599)]
    assert 100 < found[0].robust.count < 500
    for other in found[1:]:
        assert torch.equal(other.labels, found[0].labels)
        assert int((other.clean_correct != found[0].clean_correct).sum()) == 0
        assert int((other.broken != found[0].broken).sum()) <= 5


def test_examples_one_at_a_time_get_the_same_verdicts(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:60], digits.test.y[:60])
    one, all_at_once = (evaluate(plain, data, THREAT, SUITE, batch_size=size) for size in (1, 60))
    assert torch.equal(one.predictions, all_at_once.predictions)
    assert int((one.broken != all_at_once.broken).sum()) <= 1
    assert one.attempts[0].attempted == all_at_once.attempts[0].attempted


def test_a_loader_and_tensors_give_the_same_evaluation(plain: Classifier, digits: Splits) -> None:
    x, y = digits.test.x[:50], digits.test.y[:50]
    shuffled = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    found = [
        evaluate(plain, data, THREAT, SUITE, batch_size=16)
        for data in ((x, y), shuffled, from_loader((x, y), 16), iter([(x[:16], y[:16]), (x[16:], y[16:])]))
    ]
    for other in found[1:]:
        assert torch.equal(other.labels, y)
        assert torch.equal(other.predictions, found[0].predictions)
        assert torch.equal(other.broken, found[0].broken)
    assert torch.equal(found[1].witnesses.witness, found[0].witnesses.witness)


def test_the_same_call_gives_the_same_bytes_and_another_seed_other_starts(
    plain: Classifier, digits: Splits
) -> None:
    data = (digits.test.x[:50], digits.test.y[:50])
    torch.manual_seed(0)
    one = evaluate(plain, data, THREAT, SUITE, seed=3)
    torch.manual_seed(1)
    same = evaluate(plain, data, THREAT, SUITE, seed=3)
    other = evaluate(plain, data, THREAT, SUITE, seed=4)
    assert torch.equal(one.witnesses.witness, same.witnesses.witness)
    assert not torch.equal(one.witnesses.witness[:1], other.witnesses.witness[:1])


# Accounts


def test_passes_are_counted_by_attempt_and_in_all(line: Classifier) -> None:
    suite = [Attempt("pgd", PGD(steps=3, keep_best=False)), attempt(nothing)]
    with counting(PassMeter()) as around:
        found = evaluate(line, (GREYS, LABELS), THREAT, suite)
    moved = 5  # from a random start every unbroken image has moved
    pgd = 3 * 5 + moved / 3
    assert found.attempts[0].passes == pytest.approx(pgd)
    assert found.attempts[1].passes == 0
    trust = 5
    assert found.passes == pytest.approx(6 / 3 + trust + pgd)
    assert around.passes == pytest.approx(found.passes)


def test_an_attack_with_a_fast_copy_costs_one_more_forward_at_its_last_point_and_none_where_it_stopped(
    line: Classifier,
) -> None:
    with counting(PassMeter()) as around:
        found = evaluate(
            line, (GREYS, LABELS), THREAT.scaled("1/1000"), [Attempt("pgd", PGD(3, stop_early=True))]
        )
    assert not found.broken.any()
    assert found.attempts[0].passes == pytest.approx(3 * 5 + 5 / 3 + 5 / 3)  # its own last look, the verdict
    assert around.passes == pytest.approx(found.passes)
    # Where the first point breaks every image: one gradient, the confirmation, the verdict.
    wide = evaluate(
        line, (GREYS, LABELS), Linf("1"), [Attempt("pgd", PGD(steps=50, restarts=9, stop_early=True))]
    )
    assert bool(wide.broken.all() | ~wide.clean_correct.all())
    assert wide.attempts[0].passes < 5 * 20


def test_an_attempt_describes_itself_and_a_users_attack_by_name(line: Classifier) -> None:
    suite = [Attempt("pgd", PGD(steps=3), Margin), attempt(darker)]
    records = evaluate(line, (GREYS, LABELS), THREAT, suite).attempts
    described = records[0].spec["attack"]
    assert isinstance(described, dict)
    assert described["steps"] == 3
    assert records[0].spec["loss"] == "harden.losses:Margin"
    assert str(records[1].spec["attack"]).endswith(":darker")


def test_progress_is_told_after_each_batch(line: Classifier) -> None:
    reported: list[EvaluationProgress] = []
    found = evaluate(line, (GREYS, LABELS), THREAT, [attempt(darker)], batch_size=4, on_batch=reported.append)
    assert [(at.done, at.total) for at in reported] == [(4, 6), (6, 6)]
    first = found.robust_correct[:4].float().mean().item()
    assert [at.robust for at in reported] == [first, found.robust.value]
    assert 0 < reported[0].passes < reported[1].passes == found.passes
    assert 0 < reported[0].seconds <= reported[1].seconds <= found.seconds


# The model is left as it was


class Boom(Exception):
    pass


def breaks(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    torch.autograd.backward(loss(x.requires_grad_()).sum())
    raise Boom


def rude(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    torch.autograd.backward(loss(x.requires_grad_()).sum())
    return x + 0.01


@pytest.mark.parametrize("attack", [PGD(steps=2), rude, breaks], ids=["pgd", "rude", "exception"])
def test_flags_statistics_and_gradients_are_as_before(
    fit: Callable[[float, int], Classifier], digits: Splits, attack: Attack
) -> None:
    model = fit(0.0, 0).train()
    model.network.get_submodule("4").eval()
    model.network.get_submodule("3").requires_grad_(False)
    kept = torch.ones(10)
    model.head.bias.grad = kept
    before = (
        [part.training for part in model.modules()],
        [weight.requires_grad for weight in model.parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
    )

    def run() -> Evaluation:
        return evaluate(model, (digits.test.x[:20], digits.test.y[:20]), THREAT, [attempt(attack)])

    if attack is breaks:
        with pytest.raises(Boom):
            run()
    else:
        run()
    assert [part.training for part in model.modules()] == before[0]
    assert [weight.requires_grad for weight in model.parameters()] == before[1]
    assert all(torch.equal(value, before[2][name]) for name, value in model.state_dict().items())
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert grads == [kept] if len(grads) != 1 else grads[0] is kept
    assert bool((kept == 1).all())


class _NearTies(nn.Module):
    """Below grey 0.5 class 1 overtakes label 0 at a moderate loss; above, three classes nearly tie behind it.

    The largest cross-entropy of the ball is then no error: an attack that keeps the largest loss alone throws
    away the errors that it walked over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        side = x.flatten(1)[:, :1] - 0.5
        second = torch.where(side < 0, -0.3 - 8 * side, -0.3 + 2.5 * side)
        third = torch.where(side < 0, torch.full_like(side, -3.0), -3 + 29.5 * side)
        return torch.cat([0 * side, second, third], 1)


def test_more_restarts_never_raise_robust_accuracy() -> None:
    model = Classifier(_NearTies())
    data = (torch.full((64, 1, 1, 1), 0.5), torch.zeros(64, dtype=torch.int64))
    counts = [
        evaluate(model, data, Linf("0.1"), [Attempt("ce", PGD(steps=20, restarts=restarts))]).robust.count
        for restarts in (1, 2, 4)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] < 64


def test_a_network_that_answers_nothing_nearby_is_broken_there() -> None:
    """Logits that are not finite are a wrong answer; an attack that meets them has found a witness."""

    class Abyss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            grey = x.flatten(1)[:, :1]
            sure = torch.cat([grey * 0 + 1, grey * 0.1], 1)
            return torch.where(grey > 0.52, torch.full_like(sure, torch.nan), sure)

    data = (torch.full((16, 1, 1, 1), 0.5), torch.zeros(16, dtype=torch.int64))
    found = evaluate(Classifier(Abyss()), data, Linf("0.1"), pgd_suite(steps=5, restarts=2))
    assert found.clean.count == 16
    assert found.robust.count == 0
    assert found.witnesses.prediction.tolist() == [-1] * 16
