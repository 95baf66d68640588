"""Export of an artefact: trace, parity gate, attacks on the file, and the folder.

All files are written to a temporary folder and moved when they are complete, the certificate last: an
incomplete folder is never an artefact, and an older artefact is kept until the new one is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import PAGE_FILE, check_folder, publish, staging
from harden.artefact.attack_and_prove import OnPhase
from harden.artefact.measure_file import Claim, predicate
from harden.artefact.parity.parity_gated_export import exported, first_images
from harden.artefact.to_certificate import threat_record
from harden.certificate import certificate_file, schema
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.certificate import Certificate
from harden.certificate.page import html_page
from harden.data import from_loader
from harden.errors import ExportError, InputError
from harden.evaluation import Phase
from harden.evaluation.judge_outputs import check_model, check_threat
from harden.models import Classifier, float32_copy, given_back, ordinary, plain
from harden.system.atomic_files import write_bytes, write_text
from harden.system.folder_lock import held_folder


@plain()
def export(
    model: Classifier,
    folder: str | Path,
    data: object,
    claim: Claim,
    *,
    write_extra: Callable[[Path], None] | None = None,
    on_phase: OnPhase | None = None,
) -> Artefact:
    """Export a model to ONNX and certify the file.

    The graph has one input, `image` float32 (batch, C, H, W) in [0, 1], and one output, `logits`. It is
    written only when the parity gate passes. Adversarial examples are found with the model's gradients and
    decided by the file under onnxruntime. The model is left unchanged.

    Args:
        model: what to export.
        folder: empty, missing, or an artefact to replace.
        data: images that neither training nor the choice of the checkpoint has seen.
        claim: the measurements.
        write_extra: writes further files of the artefact (checkpoint, history) into a folder.
        on_phase: called with the `Phase` during the work.

    Raises:
        InputError: the folder holds other things, another process writes to it, or the data are unfit.
        ExportError: the network can't be traced, or the graph fails the gate.
        Whatever is raised, the folder is as before.
    """
    check_model(model)
    check_threat(claim.threat)
    if claim.threat.eps == 0:
        raise InputError(
            "a claim with eps 0", "a positive budget", 'write Linf("8/255"); clean accuracy is in it'
        )
    threat_record(claim.threat)  # threats without a record are refused before the work
    source = from_loader(data, claim.batch_size)
    report = on_phase or _silent
    with held_folder(check_folder(folder)) as target, given_back(model):
        report(Phase("export", 0, 1))
        image, y = first_images(source)
        # The file computes in float32: gradients of a network in half precision would mislead attacks.
        twin = ordinary(model) if _is_float32(model) else float32_copy(model)
        content, session, parity = exported(twin, image, y, claim.threat)
        report(Phase("export", 1, 1))
        with staging(target) as place:
            write_bytes(place / schema.MODEL_FILE, content)
            found = predicate(twin, session, parity, source, claim, place, report)
            certificate = certificate_file.issue(place, found)
            _check_same(content, certificate, target)
            write_text(place / PAGE_FILE, html_page.render(certificate))
            if write_extra is not None:
                write_extra(place)
            certificate_file.write(certificate, place)
            publish(place, target)
    return Artefact(target)


def _check_same(content: bytes, certificate: Certificate, folder: Path) -> None:
    """Refuse to certify another file than the one that was attacked."""
    if certificate.subject[0].digest["sha256"] != sha256_bytes(content):
        raise ExportError(
            f"{schema.MODEL_FILE} of {folder}, which has changed while it was attacked",
            "a folder that no other process writes to",
            "export to another folder",
        )


def _is_float32(model: Classifier) -> bool:
    return all(weight.dtype == torch.float32 for weight in model.parameters() if weight.is_floating_point())


def _silent(phase: Phase) -> None:
    """Report nothing."""
