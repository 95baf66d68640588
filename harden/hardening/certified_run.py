"""A run from training to certificate, with progress on disk: train, export, evaluate the file, certify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harden.artefact.artefact import Artefact
from harden.artefact.attack_and_prove import OnPhase
from harden.artefact.parity.parity_gated_export import first_images
from harden.artefact.parity.trial_export import Exportability, check_exportable
from harden.data import from_loader
from harden.description import JSON, describe
from harden.errors import CleanLimitError
from harden.hardening.hardened import Hardened
from harden.hardening.output_folder import holds_a_run
from harden.hardening.run_identity import finished, plan_of
from harden.hardening.run_inputs import RunInputs
from harden.hardening.run_stages import OnStep, harden, job_of
from harden.models import Classifier
from harden.system.named_function import is_function
from harden.system.safe_folders import remove_tree
from harden.training import Checkpoints, StepRecord

_EVALUATION_BATCH = 256

Guard = Callable[[Classifier], AbstractContextManager[None]]
"""Makes the context in which a hardened model is exported."""


def evaluation_identity(run: RunInputs) -> dict[str, JSON]:
    """The parts of a certificate's inputs that the weights do not depend on, as JSON.

    Attacks by the name of a suite are given by this name; those of a user's function in full.
    """
    settings = run.settings
    said: dict[str, JSON] = {
        "attacks": settings.suite.attacks,
        "steps": settings.suite.steps,
        "restarts": settings.suite.restarts,
        "bfloat16": settings.bfloat16,
    }
    if is_function(settings.suite.attacks):
        said["attempts"] = {attempt.name: attempt.describe() for attempt in settings.attempts}
    if settings.search is not None:
        said["proofs"] = describe(settings.search)
    return {"evaluation": {**said, "test_images": run.test.digest()}}


def trial_export(run: RunInputs) -> Exportability:
    """Export the network as it is before training, and keep nothing.

    Where the run is to prove, the file is also read by the bound computation.

    Raises:
        HardenError: the network would be trained, and its export then refused.
    """
    x, y = first_images(from_loader(run.test, run.batch_size))
    return check_exportable(run.model, x, y, run.settings.threat, proofs=run.settings.search is not None)


def artefact_of_ended_run(run: RunInputs, out: Path) -> Artefact | None:
    """The artefact that an earlier run with the same inputs left in a folder; None where none has ended.

    Raises:
        InputError: a run with other inputs has ended there.
        BrokenClaimError: a file differs from its digest.
    """
    if not holds_a_run(out):
        return None
    settings = run.settings
    job = job_of(
        run.model,
        run.source(),
        threat=settings.threat,
        recipe=run.recipe,
        budget=settings.budget,
        seed=settings.seed,
        unlabelled=run.unlabelled_source(),
    )
    return finished(out, {**plan_of(job, settings.device.type), **evaluation_identity(run)})


def certified_run(
    run: RunInputs,
    out: Path,
    checkpoints: Checkpoints,
    guard: Guard,
    on_step: Sequence[OnStep] = (),
    on_phase: OnPhase | None = None,
) -> Artefact:
    """Train, export, evaluate and certify.

    Args:
        run: the inputs; `trial_export` has accepted them.
        out: the artefact's folder.
        checkpoints: where progress is kept; `also` holds the `evaluation_identity`.
        guard: makes the context in which the trained model is exported, from that model.
        on_step: each is called with every step's record.
        on_phase: called with the `Phase` of the export.

    Raises:
        CleanLimitError: no weights are within the recipe's limit on clean accuracy and more robust.
        HardenError: as `harden.harden` and `Hardened.export`.
    """
    hardened, settings, test = trained(run, checkpoints, on_step), run.settings, run.test
    if hardened.unmet:
        remove_tree(Path(checkpoints.folder))  # the run has ended, and would end so again
        raise CleanLimitError(
            hardened.unmet,
            "weights of the run within the limit on clean accuracy; no file was written",
            "allow a larger --max-clean-drop, a larger --budget, or a smaller --eps",
        )
    with guard(hardened.model):
        return hardened.export(
            out,
            from_loader(test, min(_EVALUATION_BATCH, run.batch_size)) if settings.auto_batch else test,
            attempts=settings.attempts,
            # A network with fresh weights is at chance: there is nothing to compare with.
            compare=None if run.trained else {},
            split="test",
            notes=run.notes,
            search=settings.search,
            minutes=settings.minutes,
            on_phase=on_phase,
        )


def trained(run: RunInputs, checkpoints: Checkpoints, on_step: Sequence[OnStep] = ()) -> Hardened:
    """Train, and write nothing but progress: the part of a run that all of its processes take part in.

    Raises:
        HardenError: as `harden.harden`.
    """

    def to_all(record: StepRecord) -> None:
        for listener in on_step:
            listener(record)

    settings = run.settings
    return harden(
        run.model,
        run.source(),
        threat=settings.threat,
        recipe=run.recipe,
        budget=settings.budget,
        seed=settings.seed,
        device=settings.device,
        unlabelled=run.unlabelled_source(),
        exportable=False,  # checked by `trial_export`, on the test images
        checkpoints=checkpoints,
        on_step=to_all,
    )
