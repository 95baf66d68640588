"""A hardened model: evaluation in torch, and export with a certificate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, HISTORY_FILE
from harden.artefact.attack_and_prove import OnPhase
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.artefact.provenance import Origin
from harden.data import Source, from_loader, leaks
from harden.data.sources.loader_overlap import shared_examples
from harden.description import JSON
from harden.draws import mix
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, evaluate, standard
from harden.evaluation.proofs.prove import RadiusSearch
from harden.hardening.recipes.recipe import Recipe
from harden.models import Classifier
from harden.system.atomic_files import write_text
from harden.system.ranks import check_writer, joined
from harden.threats import Threat
from harden.training.checkpointing.run_checkpoints import PLAN_FILE, write_plan
from harden.training.checkpointing.weights_file import save_weights
from harden.training.cost_ledger import line_of
from harden.training.weights.checkpoint_selection import CLEAN_LIMIT

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hardened:
    """A hardened model with a record of its training.

    Attributes:
        model: the hardened classifier, in inference mode.
        before: the classifier that was given, as it was and is.
        threat: what it was hardened against.
        recipe: how.
        seed: of everything random.
        origin: recipe, costs and history, as the certificate gives them.
        plan: all inputs of the run, as `checkpoint/plan.json` gives them.
        images: what it was trained and validated on: labelled and unlabelled.
    """

    model: Classifier
    before: Classifier
    threat: Threat
    recipe: Recipe
    seed: int
    origin: Origin
    plan: Mapping[str, JSON] = field(default_factory=dict)
    images: tuple[Source, ...] | None = None

    def __repr__(self) -> str:
        spent = sum(stage.epochs_equivalent for stage in self.origin.stages)
        return (
            f"Hardened({type(self.model.network).__name__}, {self.threat}, {spent:.1f} E, seed={self.seed})"
        )

    @property
    def unmet(self) -> str:
        """Why the network is as it was before, under `Recipe.max_clean_drop`; "" where it was hardened."""
        event = self.origin.history[-1].event if self.origin.history else ""
        _, found, said = event.rpartition(f"{CLEAN_LIMIT}: ")
        return said if found else ""

    @property
    def _attack_seed(self) -> int:
        return mix(self.seed, 9) >> 1

    def evaluate(
        self, data: object, attempts: Sequence[Attempt] | None = None, batch_size: int = 256
    ) -> Evaluation:
        """Measure the model in torch, clean and as the worst case over attempts; see `harden.evaluate`."""
        return evaluate(
            self.model, data, self.threat, attempts, seed=self._attack_seed, batch_size=batch_size
        )

    def export(
        self,
        folder: str | Path,
        data: object,
        *,
        attempts: Sequence[Attempt] | None = None,
        compare: Mapping[str, Classifier] | None = None,
        split: str = "as given",
        notes: Mapping[str, str] | None = None,
        search: RadiusSearch | None = None,
        minutes: float | None = None,
        on_phase: OnPhase | None = None,
    ) -> Artefact:
        """Write the parity-checked ONNX file with certificate, evidence, page, history and checkpoint.

        Args:
            folder: empty, missing, or an artefact to replace.
            data: test images: neither training nor the choice of the checkpoint has seen them. The two are
                compared by content, for which the training images are read once more.
            attempts: the suite `standard` of `harden.evaluation` by default.
            compare: a model to compare with the hardened one, by its name: the model that was given, by
                default; none with an empty mapping.
            split: what the data are, for the certificate ("test").
            notes: texts to keep next to the weights in checkpoint/, by file name.
            search: the search for proofs, a `harden.evaluation.RadiusSearch`; none by default.
            minutes: how long the evaluation may take; the certificate is of the first images, those that are
                finished by then, and says so. No limit by default.
            on_phase: called with the `Phase` as the work goes on.

        Raises:
            InputError: the folder holds other things, the data are unfit or hold training images, compare
                names several models, or another process than the first one of several calls it.
            ExportError: the graph does not compute what the model computes.
        """
        check_writer(joined())
        others = {"before hardening": self.before} if compare is None else dict(compare)
        if len(others) > 1:
            raise InputError(f"{len(others)} models to compare with", "one at most", "keep one of them")
        source = from_loader(data)
        compared = [_check_apart(images, source) for images in self.images or ()]
        claim = Claim(
            threat=self.threat,
            attempts=standard() if attempts is None else attempts,
            before=next(iter(others.values()), None),
            before_name=next(iter(others), ""),
            origin=self.origin,
            seed=self._attack_seed,
            split=split,
            unseen=bool(compared) and all(compared),
            search=search,
            minutes=minutes,
        )

        def write_beside(place: Path) -> None:
            save_weights(self.model, place / CHECKPOINT_FOLDER)
            write_plan(self.plan, place / CHECKPOINT_FOLDER / PLAN_FILE)
            for name, text in (notes or {}).items():
                write_text(place / CHECKPOINT_FOLDER / name, text)
            lines = (line_of(point) for point in self.origin.history)
            write_text(place / HISTORY_FILE, "".join(f"{line}\n" for line in lines))

        return export(self.model, folder, source, claim, write_extra=write_beside, on_phase=on_phase)


def _check_apart(images: Source, source: Source) -> bool:
    """Refuse test images that training had; False where random transforms may hide such.

    Raises:
        InputError: there are some.
    """
    shared = shared_examples(images, source)
    if shared:
        raise InputError(
            f"{shared:,} of {len(source):,} test images are examples that training read",
            "images that training never saw",
            "pass the loader of the test part",
        )
    found = leaks(images, source)
    if len(found):
        raise InputError(
            f"{found.describe()}: {found.listed()}",
            "images that training never saw",
            "leave them out with harden.data.without(test, harden.data.leaks(train, test).test)",
        )
    hidden = [one.describe() for one in (images, source) if not _repeats(one)]
    if hidden:
        _log.warning(
            "random transforms change the images of %s each time they are read: whether test images are among"
            " the training images can't be counted",
            " and of ".join(hidden),
        )
    return not hidden


def _repeats(source: Source) -> bool:
    repeats: Callable[[], bool] | None = getattr(source, "repeats", None)
    return repeats is None or repeats()
