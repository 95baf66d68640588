"""Surrogates: those of harden satisfy the protocol, and an attempt uses the network that is made, or none."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD
from harden.evaluation import Attempt
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.transfer.distilled_student import Student
from harden.evaluation.transfer.inner_network import PartInside
from harden.evaluation.transfer.surrogate import Surrogate, SurrogateContext
from harden.losses import Margin
from harden.models import Classifier
from tests.evaluation.transfer.scenes import THREAT, scene

# Typed: the type checker compares both with the protocol.
SURROGATES: tuple[Surrogate, ...] = (Student(), PartInside())


@dataclass(frozen=True)
class Given:
    """Makes the network that it is given, and keeps what it is made from."""

    made: Classifier | None
    seen: list[SurrogateContext]

    def network(self, scene: SurrogateContext) -> Classifier | None:
        self.seen.append(scene)
        return self.made


@pytest.fixture
def greys() -> Tensor:
    return torch.tensor([0.3, 0.47, 0.53, 0.8]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def test_surrogates_of_harden_have_the_method() -> None:
    assert all(callable(surrogate.network) for surrogate in SURROGATES)


def test_a_network_that_masks_no_gradient_has_no_part_to_transfer_from(
    line: Classifier, greys: Tensor, rng_untouched: None
) -> None:
    assert PartInside().network(scene(line, greys[2:])) is None


def test_an_attempt_uses_the_network_that_is_made_on_the_images_that_it_attacks(
    line: Classifier, greys: Tensor
) -> None:
    y, seen = torch.tensor([0, 0, 1, 1]), list[SurrogateContext]()
    attempt = Attempt("transfer", PGD(steps=5), Margin, source=Given(line, seen))
    found = evaluate_unchecked(line, (greys, y), THREAT, [attempt])
    # 0.47 and 0.53 are within 0.12 of a pixel mean of 1/2.
    assert found.broken.tolist() == [False, True, True, False]
    (context,) = seen
    assert context.model is line
    assert context.threat == THREAT
    assert torch.equal(context.batch.x, greys)
    assert torch.equal(context.draws.ids, torch.arange(4))
    assert torch.equal(context.judge(greys), line.logits(greys))


def test_without_a_network_nothing_is_attacked(line: Classifier, greys: Tensor) -> None:
    attempt = Attempt("transfer", PGD(steps=5), Margin, source=Given(None, []))
    found = evaluate_unchecked(line, (greys, torch.tensor([0, 0, 1, 1])), THREAT, [attempt])
    assert not bool(found.broken.any())
    assert found.attempts[0].attempted == 0
    assert found.attempts[0].passes == 0


def test_a_context_can_not_be_changed(line: Classifier, greys: Tensor) -> None:
    context = scene(line, greys)
    with pytest.raises(FrozenInstanceError):
        context.threat = THREAT  # type: ignore[misc]  # wrong on purpose
