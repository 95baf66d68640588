"""The model of `harden evaluate`: a bare ONNX file, an artefact's file with its checkpoint, or a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import CHECKPOINT_FOLDER
from harden.artefact.parity.parity_gate import check_parity
from harden.artefact.parity.parity_gated_export import first_images, judge_of
from harden.artefact.runtime.session import Session
from harden.cli.options.evaluate_options import EvaluateOptions
from harden.cli.output.console import say
from harden.data import Source, Splits, from_loader
from harden.deployed.evidence_level import AttackSetup, FileAccess, attack_setup
from harden.deployed.onnx_classifier import OnnxClassifier, names_onnx_file
from harden.errors import ExportError, InputError
from harden.evaluation import Attempt
from harden.hardening.model_spec import ModelSpec
from harden.models import Classifier
from harden.models.devices import check_device
from harden.training.preflight import check_fit


@final
@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """A model with its attack setup, and the bare file or the artefact that it is of, if any."""

    setup: AttackSetup
    file: OnnxClassifier | None = None
    artefact: Artefact | None = None


def evaluated_model(
    spec: ModelSpec,
    splits: Splits,
    source: Source,
    options: EvaluateOptions,
    attempts: tuple[Attempt, ...],
) -> EvaluatedModel:
    """Load the network that gives gradients and the judge, and fit the attacks to them.

    Raises:
        InputError: model and options do not fit together, or the checkpoint is another network than the file.
    """
    device = check_device(options.device)
    if names_onnx_file(spec.spec):
        return _evaluated_file(spec, splits, source, options, attempts)
    if options.twin or options.black_box:
        raise InputError(
            f"--twin or --black-box for {spec.spec}", "an ONNX file by itself", "leave these options out"
        )
    model = spec.build(splits, options.seed, say).to(device)
    check_fit(model, from_loader(splits.test, options.batch_size), learns=False)
    if spec.folder is None:
        return EvaluatedModel(AttackSetup(model, model.logits, "torch", attempts, "A"))
    artefact = Artefact(spec.folder)
    _check_same_network(spec.folder, model, artefact.session, source)
    by = f"{spec.folder}/model.onnx in onnxruntime"
    setup = AttackSetup(model, judge_of(artefact.session), by, attempts, "A")
    return EvaluatedModel(setup, artefact=artefact)


def _evaluated_file(
    spec: ModelSpec,
    splits: Splits,
    source: Source,
    options: EvaluateOptions,
    attempts: tuple[Attempt, ...],
) -> EvaluatedModel:
    """As `evaluated_model`, of an ONNX file; with --twin the options for models are those of the twin."""
    own = [option for option in spec.given() if option not in ("--mean", "--std")]
    if own and not options.twin:
        raise InputError(
            f"{spec.spec} with {' and '.join(own)}",
            "a file alone, which has its own",
            "leave these options out, or name the model that they are for with --twin",
        )
    device = check_device(options.device)
    mean, std = (None, None) if options.twin else (spec.mean, spec.std)
    file = OnnxClassifier.of(Path(spec.spec), splits, mean, std)
    twin = replace(spec, spec=options.twin).build(splits, on_note=say).to(device) if options.twin else None
    access = FileAccess(twin, options.black_box, mean, std, device)
    return EvaluatedModel(attack_setup(file, access, source, attempts, options.minutes), file)


def check_spec(spec: ModelSpec) -> None:
    """Report a missing folder where a path was written, before anything is loaded.

    Raises:
        InputError: it is.
    """
    path = Path(spec.spec)
    if ":" not in spec.spec and len(path.parts) > 1 and not path.exists() and not names_onnx_file(spec.spec):
        raise InputError(
            f"model {spec.spec!r}, where no folder is",
            "a run's folder, or small, torchvision:NAME or module:function",
            "name the --out of a `harden run`",
        )


def _check_same_network(folder: Path, model: Classifier, session: Session, source: Source) -> None:
    """Refuse gradients of another network than the judge's: robust accuracy would be overstated."""
    try:
        check_parity(model, session, first_images(source)[0])
    except ExportError as error:
        seen = f"{folder}/{CHECKPOINT_FOLDER} is not the network of {folder}/model.onnx ({error.seen})"
        raise InputError(
            seen, "the weights that the file was exported from", "run or export again"
        ) from error
