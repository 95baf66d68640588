"""harden export."""

from __future__ import annotations

from pathlib import Path

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import CHECKPOINT_FOLDER, check_folder
from harden.artefact.export import export as export_model
from harden.artefact.measure_file import Claim
from harden.cli.commands.evaluate import Plan, check_spec
from harden.cli.loading.model_spec import ModelSpec
from harden.cli.loading.test_data import for_evaluation
from harden.cli.output.certificate_table import Asked, as_json, exit_code, print_artefact
from harden.cli.output.console import Watch, write_json
from harden.cli.sampling import evaluated_images
from harden.data import from_loader
from harden.errors import InputError
from harden.evaluation.proofs.prove import RadiusSearch
from harden.evaluation.time_limit import TimeLimit
from harden.training.checkpointing.weights_file import save_weights
from harden.training.preflight import check_fit


def export(
    spec: ModelSpec,
    data: str,
    plan: Plan,
    out: Path,
    json_file: Path | None,
    search: RadiusSearch | None = None,
) -> int:
    """Export a model as it is, and certify the file."""
    if plan.bfloat16:
        raise InputError(
            "--bfloat16 for harden export",
            "gradients in float32: a certificate's number is one of record",
            "leave --bfloat16 out",
        )
    check_spec(spec)
    TimeLimit(plan.minutes)  # minutes that are none are told before anything is loaded
    threat, attempts = plan.threat(), plan.attempts()
    check_folder(out)
    splits = for_evaluation(data, spec.spec)
    test = evaluated_images(splits, plan.test_images)
    model, origin = spec.build(splits, plan.seed), spec.resolved()
    check_fit(model, from_loader(splits.test), learns=False)

    def write_beside(place: Path) -> None:
        save_weights(model, place / CHECKPOINT_FOLDER)
        origin.remember(place)

    claim = Claim(
        threat=threat, attempts=attempts, seed=plan.seed, split="test", search=search, minutes=plan.minutes
    )
    with Watch() as watch:
        artefact: Artefact = export_model(model, out, test, claim, beside=write_beside, on_phase=watch.phase)
    asked = Asked(data, plan.attacks, plan.steps, plan.restarts, plan.test_images)
    print_artefact(artefact, asked)
    write_json(json_file, as_json(artefact, asked))
    return exit_code(artefact)
