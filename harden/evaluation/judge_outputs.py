"""The judge's logits and classes, and checks of model, threat and outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import HardenError, InputError
from harden.losses import Classify
from harden.models import Classifier, names_a_type


def check_model(model: object) -> None:
    """Raise InputError unless a model is a Classifier."""
    if not isinstance(model, Classifier):
        raise InputError(
            f"a {type(model).__name__}",
            "a harden.Classifier",
            "write harden.Classifier(model, mean=..., std=...)",
        )


def check_threat(threat: object) -> None:
    """Raise InputError unless a threat is one, and not its name, its eps or its class."""
    if isinstance(threat, type) or not hasattr(threat, "eps"):
        raise InputError(f"a threat {threat!r}", "Linf, L2 or L1", 'write threat=harden.Linf("8/255")')


def check_answer(judge: Classify, x: Tensor, y: Tensor) -> None:
    """Raise InputError unless a judge takes images x (N, C, H, W) and has logits for the labels y."""
    try:
        judge_classes(judge, x, y)
    except (HardenError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's forward may raise anything
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        if names_a_type(error):
            raise InputError(
                f"a network that fails with float32 weights ({reason})",
                "a forward that follows the type of its weights",
                "write x.to(self.weight.dtype) instead of a fixed type",
            ) from error
        raise InputError(
            f"images of shape {tuple(x.shape[1:])} on which the network fails ({reason})",
            "images of the channels and size that it was built for, in batches of any size",
            "resize them, build the network for them, or write x.shape[0] for a number in its forward",
        ) from error


def judge_classes(judge: Classify, x: Tensor, y: Tensor) -> Tensor:
    """The judge's class of each image (N,), or -1, which equals no label, where a logit is not finite.

    Raises:
        InputError: a label of y is not one of the judge's classes.
    """
    return predicted_classes(judge_logits(judge, x, y))


@torch.no_grad()
def judge_logits(judge: Classify, x: Tensor, y: Tensor) -> Tensor:
    """The judge's logits (N, K) of images, after a check that they cover the labels.

    Raises:
        InputError: a label of y is not one of the judge's classes.
    """
    logits = judge(x)
    classes = logits.shape[1]
    if classes == 1:
        raise InputError(
            "a network with one logit",
            "a logit for each class",
            "return torch.cat([torch.zeros_like(z), z], 1) for a sigmoid's logit z",
        )
    if int(y.max()) >= classes or int(y.min()) < 0:
        seen = f"labels {int(y.min())} to {int(y.max())} for {classes} logits"
        raise InputError(
            seen, f"labels 0 to {classes - 1}", "check that model and data have the same classes"
        )
    return logits


def predicted_classes(logits: Tensor) -> Tensor:
    """The class of each row, the first of equal ones; -1 where a logit is not finite: int64 (N,)."""
    prediction = logits.argmax(1)
    return torch.where(logits.isfinite().all(1), prediction, torch.full_like(prediction, -1))
