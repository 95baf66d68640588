"""Export of a model to a graph that passed the parity gate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harden.artefact.classifier_to_onnx import trace
from harden.artefact.parity.parity_gate import Parity, check_parity
from harden.artefact.runtime.session import Session
from harden.attacks import PGD
from harden.certificate.optimisation_levels import DEFAULT, LEVELS
from harden.data import Source
from harden.draws import Draws
from harden.errors import ExportError, InputError
from harden.graph.exporting.torch_exporter import export_module
from harden.losses import CrossEntropy
from harden.models import Classifier, ordinary, untouched
from harden.models.out_of_memory import ran_out_of_memory
from harden.models.pass_count import check_interruption
from harden.threats import Threat

PARITY_IMAGES = 15  # whole batches of 1, 3 and 5
_MIXED = 1e-4
"""Share of the largest logit, far above the effect of another order of summation in other batches."""


def exported(model: Classifier, x: Tensor, y: Tensor, threat: Threat) -> tuple[bytes, Session, Parity]:
    """Trace a model and gate the graph on images x (N, C, H, W), clean and attacked."""
    model = ordinary(model)
    graph = trace(model, (x.shape[1], x.shape[2], x.shape[3]))
    content = graph.SerializeToString(deterministic=True)
    session = _session(content)
    if int(y.min()) < 0 or int(y.max()) >= session.classes:
        raise InputError(
            f"labels {int(y.min())} to {int(y.max())} for {session.classes} logits",
            f"labels 0 to {session.classes - 1}",
            "check that model and data have the same classes",
        )
    # The clean images first: a network that can't take this batch could not be attacked either.
    _check_parity(model, session, x)
    with untouched(model):
        device = model.device
        loss = CrossEntropy(model.logits, y.to(device))
        draws = Draws(0, torch.arange(len(x), device=device))
        x_adv = PGD(steps=10, stop_early=True)(loss, x.to(device), threat, draws)
    parity = check_parity(model, session, torch.cat((x, x_adv.cpu())))
    _check_levels(content, session, x, parity)
    return content, session, parity


def _session(content: bytes, level: str = DEFAULT) -> Session:
    """A session of an exported graph; where onnxruntime refuses it, the error names the network."""
    try:
        return Session(content, level=level)
    except InputError as error:
        raise ExportError(
            f"a network whose graph onnxruntime does not take ({error.seen[:200]})",
            "operators in float32, without loops",
            "leave autocast, .half(), .bfloat16() and loops over values out of inference",
        ) from error


def _check_parity(model: Classifier, session: Session, x: Tensor) -> None:
    """As `check_parity`, with the reason where it fails because images of a batch are mixed."""
    try:
        check_parity(model, session, x)
    except ExportError:
        if (apart := _mixed(model, x)) is not None:
            raise ExportError(
                f"a network whose logits for an image differ by {apart:.3g} with the rest of its batch",
                "an answer to each image for itself",
                "write the dimensions to x.mean, x.max or x.norm, as in x.amax((1, 2, 3), keepdim=True), "
                "and no .item(); normalise by each image, not by the batch",
            ) from None
        raise


@torch.no_grad()
def _mixed(model: Classifier, x: Tensor) -> float | None:
    """The difference of a network's logits for single images from those for a batch; None if it is rounding.

    None, too, where the logits are not deterministic, which is another error.
    """
    module = export_module(model)
    try:
        together, again = module(x), module(x)
        alone = torch.cat([module(image.unsqueeze(0)) for image in x])
    except Exception as error:  # a user's forward may raise anything, which the gate reports
        if ran_out_of_memory(error):
            raise
        return None
    apart, scale = float((together - alone).abs().max()), float(together.abs().max())
    return apart if apart > _MIXED * scale and torch.equal(together, again) else None


def _check_levels(content: bytes, session: Session, x: Tensor, parity: Parity) -> None:
    """Compare the logits at other levels of onnxruntime's graph optimisation, which users may choose.

    Raises:
        ExportError: at one of them the file does not load, or its logits leave the tolerance.
    """
    image = x.numpy()
    expected = session(image)
    for level in LEVELS:
        if level == DEFAULT:
            continue
        apart = float(np.abs(_session(content, level)(image) - expected).max())
        if not apart <= 2 * parity.tolerance:
            raise ExportError(
                f"a graph whose logits differ by {apart:.3g} at onnxruntime's optimisation level {level!r}",
                f"at most {2 * parity.tolerance:.3g} between any two levels",
                "install another onnxruntime, or leave out the layer that it computes differently",
            )


def judge_of(session: Session) -> Callable[[Tensor], Tensor]:
    """A session as a judge: images to logits, both as tensors."""

    def judge(x: Tensor) -> Tensor:
        check_interruption()
        return torch.from_numpy(session(x.detach().cpu().numpy())).to(x.device)

    return judge


def first_images(source: Source) -> tuple[Tensor, Tensor]:
    """The images (N, C, H, W) and labels (N,) for the gate."""
    images, labels, count = [], [], 0
    for batch in source.epoch(None):
        images.append(batch.x.float().cpu())
        labels.append(batch.y.cpu())
        count += len(batch)
        if count >= PARITY_IMAGES:
            break
    if not count:
        raise InputError("no examples", "at least one image to certify on", "check the data set")
    return torch.cat(images)[:PARITY_IMAGES], torch.cat(labels)[:PARITY_IMAGES]
