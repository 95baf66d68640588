"""Certificates of ONNX files that were evaluated as they are: an artefact's file again, or a bare file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from harden.artefact.artefact import Artefact
from harden.artefact.artefact_folder import HISTORY_FILE, PAGE_FILE, check_folder, publish, staging
from harden.artefact.measure_file import TIME_WAS_UP, Claim, FileMeasurement, class_names, record
from harden.artefact.parity.parity_gate import Parity, check_parity
from harden.artefact.parity.parity_gated_export import PARITY_IMAGES, first_images
from harden.artefact.provenance import Origin
from harden.artefact.runtime.session import Session
from harden.artefact.time_limited_certificate import finished_part
from harden.artefact.to_certificate import threat_record
from harden.certificate import certificate_file, schema
from harden.certificate.page import html_page
from harden.data import Source
from harden.deployed.onnx_classifier import OnnxClassifier
from harden.errors import ExportError, HardenError, InputError
from harden.evaluation import Evaluation
from harden.models import Classifier
from harden.system.atomic_files import read_bytes, write_bytes, write_text
from harden.system.folder_lock import held_folder
from harden.system.size_limits import JSON_BYTES
from harden.verifier.verification import verify

UNKNOWN: Final = "unknown: the ONNX file was evaluated as it was given"
"""The recipe's `provenance` in the certificate of a bare file."""
_EXPORT: Final = "export the model with `harden export`, which certifies what it writes"


@final
@dataclass(frozen=True, slots=True, eq=False)
class KnownFile:
    """The facts about an ONNX file in its certificate, apart from its evaluation.

    Attributes:
        content: its bytes.
        logits: their number for each image.
        parity: of the file with the model that gave the gradients.
        origin: where it came from.
        history: history.jsonl of its training; empty for none.
    """

    content: bytes
    logits: int
    parity: Parity
    origin: Origin
    history: bytes = b""


def check_destination(folder: Path, file: Path, *, replace: bool) -> None:
    """Refuse a folder for a certificate before anything is evaluated.

    Args:
        folder: where the certificate is to be written.
        file: the evaluated ONNX file, or its folder.
        replace: whether an artefact in the folder may be replaced.

    Raises:
        InputError: it holds other things, an artefact that may not be replaced, or the evaluated file.
    """
    check_folder(folder)
    place = file.resolve()
    if folder.exists() and any(each.samefile(folder) for each in (place, *place.parents) if each.exists()):
        raise InputError(
            f"a certificate in {folder}, which holds the evaluated file",
            "a folder of its own for what is written",
            "name another folder with --certificate",
        )
    names = (certificate_file.CERTIFICATE_FILE, schema.MODEL_FILE)
    there = [name for name in names if os.path.lexists(folder / name)]
    if there and not replace:
        raise InputError(
            f"{folder}, which holds a finished artefact ({' and '.join(there)})",
            "a folder without one",
            "name another folder with --certificate, or write --force to replace it",
        )


def artefact_file(artefact: Artefact) -> KnownFile:
    """The file of an artefact, with parity and provenance as its certificate records them.

    Its bytes are those that were digested and executed, whatever the file on disk has become.

    Raises:
        InputError: the history can't be read.
    """
    predicate = artefact.certificate.predicate
    known, parity, history = predicate.provenance, predicate.parity, artefact.folder / HISTORY_FILE
    return KnownFile(
        content=artefact.content,
        logits=artefact.session.classes,
        parity=Parity(parity.tolerance, parity.max_error, parity.batches, parity.reference),
        origin=Origin(
            recipe=known.recipe,
            stages=known.stages,
            history=predicate.history,
            seeds=known.seeds,
            deterministic=known.deterministic,
            device=known.device,
        ),
        history=read_bytes(history, JSON_BYTES) if history.is_file() else b"",
    )


def certifiable_logits(file: OnnxClassifier) -> int:
    """The number of logits of a bare file, after a check of its form; to be called before an evaluation.

    Raises:
        InputError: the file is not of the form in which harden exports files.
    """
    if file.mean is not None or file.image_shape != file.session.image_shape:
        raise InputError(
            f"a certificate of {file.path}, whose images are normalised or rearranged outside of it",
            "a file that takes images (N, C, H, W) in [0, 1]",
            _EXPORT,
        )
    try:
        return Session(file.content, name=str(file.path)).classes
    except InputError as error:
        raise _other_form(file, error) from error


def bare_file(file: OnnxClassifier, model: Classifier, images: Source, found: Evaluation) -> KnownFile:
    """A bare file, of unknown provenance; its graph as it is read is compared with onnxruntime.

    The comparison is the parity gate's, on the first clean images and the first witnesses.

    Raises:
        InputError: the file is not of the form in which harden exports files, or the two differ.
    """
    logits = certifiable_logits(file)
    x = torch.cat((first_images(images)[0], found.witnesses.witness[:PARITY_IMAGES]))
    try:
        parity = check_parity(model, file, x)
    except ExportError as error:
        raise _other_form(file, error) from error
    return KnownFile(file.content, logits, parity, Origin(recipe={"provenance": UNKNOWN}))


def _other_form(file: OnnxClassifier, error: HardenError) -> InputError:
    seen = f"a certificate of {file.path}, of another form ({error.seen})"
    return InputError(seen, "a float32 file of the form in which harden exports files", _EXPORT)


def write_certificate(
    folder: Path, known: KnownFile, found: Evaluation, images: Source, *, seed: int = 0, split: str = "test"
) -> Artefact:
    """Write an artefact of a file with the evaluation as its certificate, and verify it first.

    Args:
        folder: empty, missing, or an artefact to replace; see `check_destination`.
        known: the evaluated file.
        found: its evaluation at evidence level A.
        images: that were evaluated.
        seed: of the attacks' random starts.
        split: what the images are, in words.

    Raises:
        InputError: the folder holds other things, no certificate can state the threat, or the certificate
            would not pass `harden verify`.
    """
    threat_record(found.threat)
    whole = len(images)
    images, found = finished_part(images, found)
    if len(found.labels) < whole:
        split = f"{split}, the first {len(found.labels):,} of {whole:,} images: {TIME_WAS_UP}"
    measurement = FileMeasurement(images, found, class_names(images, known.logits))
    claim = Claim(found.threat, (), origin=known.origin, seed=seed, split=split)
    with held_folder(check_folder(folder)) as target, staging(target) as place:
        write_bytes(place / schema.MODEL_FILE, known.content)
        predicate = record(measurement, claim, known.parity, place, torch.device("cpu"))
        certificate = certificate_file.issue(place, predicate)
        write_text(place / PAGE_FILE, html_page.render(certificate))
        if known.history:
            write_bytes(place / HISTORY_FILE, known.history)
        certificate_file.write(certificate, place)
        broken = [each for each in verify(place).checks if not each.passed]
        if broken:
            raise InputError(
                f"a certificate that does not verify ({'; '.join(each.detail for each in broken)})",
                "a file that takes 'image' in batches of any size, and gives 'logits'",
                _EXPORT,
            )
        publish(place, target)
    return Artefact(target)
