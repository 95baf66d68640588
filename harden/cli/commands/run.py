"""harden run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import PROGRESS_FOLDER
from harden.cli.loading.check_exportable import check_export
from harden.cli.loading.fit_batch_size import fitted, no_room
from harden.cli.loading.output_folder import can_go_on, holds_a_run, output_folder
from harden.cli.loading.prepare_run import Ready, prepare
from harden.cli.loading.unexported_weights import weights_kept
from harden.cli.options.run_options import Choice
from harden.cli.output.certificate_table import Asked, as_json, exit_code, print_artefact
from harden.cli.output.console import Watch, print_costs, print_kernels, say, write_json
from harden.cli.output.exit import StoppedError
from harden.cli.output.exit_codes import NO_ROOM
from harden.cli.output.run_summary import print_inputs
from harden.data import from_loader
from harden.description import JSON, describe
from harden.errors import InputError
from harden.hardening import finished, harden, job_of, plan_of
from harden.models import Classifier
from harden.models.out_of_memory import ran_out_of_memory
from harden.training import Checkpoints, StepRecord

_EVALUATED_AT_A_TIME = 256


def run(choice: Choice) -> int:
    """Harden, export, certify; what is wrong is refused before anything is written."""
    try:
        return _run(choice)
    except KeyboardInterrupt:
        # With --resume what was kept before is there from the start, also while data and model are loaded.
        if choice.resume and can_go_on(choice.out / PROGRESS_FOLDER):
            raise _stopped(choice.out / PROGRESS_FOLDER) from None
        raise


def _stopped(progress: Path) -> StoppedError:
    return StoppedError(f"what was done is in {progress}; go on with --resume")


def _run(choice: Choice) -> int:
    ready = prepare(choice)
    with output_folder(choice.out) as out:
        progress = out / PROGRESS_FOLDER
        if choice.auto_batch:
            ready = fitted(ready, progress if choice.resume else None)
        print_inputs(choice, ready)
        print_kernels(ready.options.device)
        try:
            artefact = _finished(choice, ready, out)
            if artefact is None:
                # What goes on was tried when it began.
                if not (choice.resume and can_go_on(progress)):
                    check_export(ready)
                artefact = _certified(choice, ready, out)
        except KeyboardInterrupt:
            if can_go_on(progress):
                raise _stopped(progress) from None
            raise
        except OSError as error:
            if error.errno not in NO_ROOM or not can_go_on(progress):
                raise
            raise InputError(
                f"{error.filename or out}: {error.strerror}",
                "a disk with room",
                f"free some, and go on with --resume: what was done is in {progress}",
            ) from None
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            artefact = None
        if artefact is None:
            # Outside of the handler, whose traceback holds on to the memory that is to be looked at.
            raise no_room(choice, ready)
    print_costs(artefact.certificate.predicate.provenance.stages)
    asked = Asked(choice.data, choice.attacks, choice.steps, choice.restarts, choice.test_images)
    print_artefact(artefact, asked)
    write_json(choice.json_file, as_json(artefact, asked))
    return exit_code(artefact)


def _evaluation(choice: Choice, ready: Ready) -> dict[str, JSON]:
    """What the certificate depends on beside the weights."""
    asked: dict[str, JSON] = {
        "attacks": choice.attacks,
        "steps": choice.steps,
        "restarts": choice.restarts,
        "bfloat16": choice.bfloat16,
    }
    if ready.options.search is not None:
        asked["proofs"] = describe(ready.options.search)
    return {"evaluation": {**asked, "test_images": ready.test.digest()}}


def _finished(choice: Choice, ready: Ready, out: Path) -> Artefact | None:
    """What a run with these very options has left in the folder, if there is to be gone on with one."""
    if not choice.resume or not holds_a_run(out):
        return None
    job = job_of(
        ready.model,
        ready.source(),
        threat=ready.options.threat,
        recipe=ready.recipe,
        budget=ready.options.budget,
        seed=choice.seed,
        unlabelled=ready.unlabelled_source(),
    )
    plan = {**plan_of(job, ready.options.device.type), **_evaluation(choice, ready)}
    artefact = finished(out, plan)
    if artefact is not None:
        say(f"this run has ended before: {out} is as it left it")
    return artefact


def _certified(choice: Choice, ready: Ready, out: Path) -> Artefact:
    checkpoints = Checkpoints(
        out / PROGRESS_FOLDER,
        resume=choice.resume,
        every=choice.checkpoint_every,
        also=_evaluation(choice, ready),
    )
    with ExitStack() as stack:
        for tracker in ready.options.trackers:
            stack.enter_context(tracker)
        watch = stack.enter_context(Watch(ready.trained_on))
        hardened = harden(
            ready.model,
            ready.source(),
            threat=ready.options.threat,
            recipe=ready.recipe,
            budget=ready.options.budget,
            seed=choice.seed,
            device=ready.options.device,
            unlabelled=ready.unlabelled_source(),
            exportable=False,  # which was looked at, on the test images
            checkpoints=checkpoints,
            on_step=_to_all((watch.step, *ready.options.trackers)),
        )
        # A network with fresh weights is at chance: there is nothing to compare with.
        trained = ready.spec.weights or ready.spec.folder
        compare: dict[str, Classifier] | None = None if trained else {}
        with weights_kept(hardened.model, ready.origin, choice):
            return hardened.export(
                out,
                from_loader(ready.test, min(_EVALUATED_AT_A_TIME, ready.batch_size))
                if choice.auto_batch
                else ready.test,
                attempts=ready.options.attempts,
                compare=compare,
                split="test",
                notes=ready.origin.notes(),
                search=ready.options.search,
                minutes=choice.evaluate_minutes,
                on_phase=watch.phase,
            )


def _to_all(listeners: tuple[Callable[[StepRecord], None], ...]) -> Callable[[StepRecord], None]:
    def tell(record: StepRecord) -> None:
        for listener in listeners:
            listener(record)

    return tell
