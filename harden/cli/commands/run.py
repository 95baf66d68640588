"""harden run."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import PROGRESS_FOLDER
from harden.cli.loading.prepare_run import model_spec, prepare
from harden.cli.loading.save_on_failed_export import weights_kept
from harden.cli.options.logger_options import trackers
from harden.cli.options.run_options import RunOptions
from harden.cli.output.certificate_table import RerunOptions, as_json, exit_code, print_artefact
from harden.cli.output.console import ProgressDisplay, print_costs, print_kernels, say, write_json
from harden.cli.output.exit import StoppedError
from harden.cli.output.exit_codes import NO_ROOM
from harden.cli.output.run_inputs_table import print_inputs, print_trial_export
from harden.errors import InputError
from harden.hardening.batch_size import out_of_memory, with_fitting_batch
from harden.hardening.certified_run import (
    artefact_of_ended_run,
    certified_run,
    evaluation_identity,
    trained,
    trial_export,
)
from harden.hardening.output_folder import can_go_on, output_folder
from harden.hardening.run_inputs import RunInputs
from harden.models.out_of_memory import ran_out_of_memory
from harden.system.ranks import Ranks, joined
from harden.training import Checkpoints


def run(options: RunOptions) -> int:
    """Harden, export, certify; wrong input is refused before anything is written."""
    try:
        return _run(options)
    except KeyboardInterrupt:
        # With --resume, stored progress exists from the start, also while data and model are loaded.
        if options.resume and can_go_on(options.out / PROGRESS_FOLDER):
            raise _stopped(options.out / PROGRESS_FOLDER) from None
        raise


def fitted(inputs: RunInputs, progress: Path | None) -> RunInputs:
    """With --auto-batch, the same run with the largest batch that fits; says so where it is another."""
    if not inputs.settings.auto_batch:
        return inputs
    found = with_fitting_batch(inputs, progress)
    if found.batch_size != inputs.batch_size:
        say(f"batch     {found.batch_size} images at a time: {inputs.batch_size} do not fit into memory")
    return found


def _stopped(progress: Path) -> StoppedError:
    return StoppedError(f"what was done is in {progress}; go on with --resume")


def _run(options: RunOptions) -> int:
    inputs, ranks = prepare(options), joined()
    if not ranks.is_main:
        return _take_part(options, inputs, ranks)
    with output_folder(options.out) as out:
        progress = out / PROGRESS_FOLDER
        inputs = fitted(inputs, progress if options.resume else None)
        print_inputs(options, inputs)
        print_kernels(inputs.settings.device)
        try:
            artefact = _artefact(options, inputs, out)
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
        if artefact is None and ranks.several:
            raise InputError(
                f"batches of {options.batch_size} images in {ranks.size} processes, too large for the memory",
                "a batch of which each process's part fits",
                "write a smaller --batch-size, or more processes",
            )
        if artefact is None:
            # Outside of the handler, whose traceback holds the memory that is to be measured.
            raise out_of_memory(inputs, options.batch_size)
    print_costs(artefact.certificate.predicate.provenance.stages)
    rerun = RerunOptions(options.data, options.suite, options.test_images)
    print_artefact(artefact, rerun)
    write_json(options.json_file, as_json(artefact, rerun))
    return exit_code(artefact)


def _artefact(options: RunOptions, inputs: RunInputs, out: Path) -> Artefact:
    """The artefact of the run: of one that has ended with these options, or made now."""
    ended = artefact_of_ended_run(inputs, out) if options.resume else None
    joined().on_main(lambda: ended is not None)
    if ended is not None:
        say(f"this run has ended before: {out} is as it left it")
        return ended
    progress = out / PROGRESS_FOLDER
    if not (options.resume and can_go_on(progress)):  # a run that is resumed was tried when it began
        print_trial_export(trial_export(inputs), proofs=inputs.settings.search is not None)
    checkpoints = _checkpoints(options, inputs)
    origin = model_spec(options).resolved()
    with ExitStack() as stack:
        loggers = trackers(options.log or ())
        for logger in loggers:
            stack.enter_context(logger)
        watch = stack.enter_context(ProgressDisplay(inputs.trained_on))
        return certified_run(
            inputs,
            out,
            checkpoints,
            partial(weights_kept, origin=origin, options=options),
            on_step=(watch.step, *loggers),
            on_phase=watch.phase,
        )


def _take_part(options: RunOptions, inputs: RunInputs, ranks: Ranks) -> int:
    """Train as another process than the first one, which exports, evaluates and prints."""
    has_ended = ranks.on_main(lambda: False)
    if not has_ended:
        trained(inputs, _checkpoints(options, inputs))
    return 0


def _checkpoints(options: RunOptions, inputs: RunInputs) -> Checkpoints:
    return Checkpoints(
        options.out / PROGRESS_FOLDER,
        resume=options.resume,
        every=options.checkpoint_every,
        also=evaluation_identity(inputs),
    )
