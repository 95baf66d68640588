"""harden export."""

from __future__ import annotations

from pathlib import Path

from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, check_folder
from harden.artefact.export import export as export_model
from harden.artefact.measure_file import Claim
from harden.cli.loading.evaluated_model import check_spec
from harden.cli.loading.evaluation_data import for_evaluation
from harden.cli.options.export_options import ExportOptions
from harden.cli.output.certificate_table import RerunOptions, as_json, exit_code, print_artefact
from harden.cli.output.console import ProgressDisplay, say, write_json
from harden.data import from_loader
from harden.data.splits.evaluation_sample import evaluated_images
from harden.errors import InputError
from harden.evaluation.proofs.methods import search_named
from harden.evaluation.suite_lookup import chosen, suite_of
from harden.evaluation.time_limit import TimeLimit
from harden.hardening.model_spec import ModelSpec
from harden.hardening.output_folder import check_apart, check_replaceable
from harden.threats import Threat, from_name
from harden.training.checkpointing.weights_file import save_weights
from harden.training.preflight import check_fit


def export(options: ExportOptions) -> int:
    """Export a model as it is, and certify the file."""
    spec = ModelSpec.of(
        options.spec, options.weights, options.mean, options.std, head=options.head, output=options.output
    )
    check_apart(options.out, spec.folder, spec.weights)
    check_replaceable(options.out, options.force)
    search = search_named(options.prove, options.prove_minutes)
    if options.bfloat16:
        raise InputError(
            "--bfloat16 for harden export",
            "gradients in float32: a certificate's number is one of record",
            "leave --bfloat16 out",
        )
    check_spec(spec)
    TimeLimit(options.evaluate_minutes)  # refused before anything is loaded
    suite = chosen(options.attacks, options.steps, options.restarts)
    attempts = suite_of(suite.attacks, suite.steps, suite.restarts)
    threat = _threat(options)
    check_folder(options.out)
    splits = for_evaluation(options.data, spec.spec)
    test = evaluated_images(splits, options.test_images)
    model, origin = spec.build(splits, options.seed, say), spec.resolved()
    check_fit(model, from_loader(splits.test), learns=False)

    def write_checkpoint(place: Path) -> None:
        save_weights(model, place / CHECKPOINT_FOLDER)
        origin.remember(place)

    claim = Claim(
        threat=threat,
        attempts=attempts,
        seed=options.seed,
        split="test",
        search=search,
        minutes=options.evaluate_minutes,
    )
    with ProgressDisplay() as watch:
        artefact = export_model(
            model, options.out, test, claim, write_extra=write_checkpoint, on_phase=watch.phase
        )
    rerun = RerunOptions(options.data, suite, options.test_images)
    print_artefact(artefact, rerun)
    write_json(options.json_file, as_json(artefact, rerun))
    return exit_code(artefact)


def _threat(options: ExportOptions) -> Threat:
    if "," in options.eps:
        raise InputError(
            f"--eps {options.eps}", "one eps", "write --eps 8/255; `harden evaluate` takes several"
        )
    return from_name(options.norm, options.eps)
