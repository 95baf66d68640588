"""Batches of images for a judge in inference mode, for measurements without attacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from harden.check_pixels import check_pixels
from harden.data import Batch, from_loader
from harden.errors import InputError
from harden.evaluation.natural.operating_point import Thresholded
from harden.losses import Classify
from harden.models import untouched


@contextmanager
def frozen_judge(judge: Classify) -> Iterator[None]:
    """Keep the network behind a judge in inference mode, if it can be determined.

    A judge that is a function around a network has to put it in inference mode itself.
    """
    network = network_of(judge)
    with untouched(*(() if network is None else (network,))):
        yield


def network_of(judge: Classify) -> nn.Module | None:
    """The module that a judge is, or whose method it is, such as `model.logits`, also behind a threshold."""
    while isinstance(judge, Thresholded):
        judge = judge.classify
    seen = (judge, getattr(judge, "__self__", None))
    return next((part for part in seen if isinstance(part, nn.Module)), None)


def batches(judge: Classify, data: object, batch_size: int) -> Iterator[tuple[Batch, int]]:
    """Batches in order, pixels float32 in [0, 1], index the position in the data; with the number of images.

    They are on the device of the network behind the judge, if it can be determined, else on that of the data.

    Args:
        judge: for which they are.
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        batch_size: images at a time, where data brings no batches of its own.

    Raises:
        InputError: no images, or images that are not pixels in [0, 1].
    """
    network = network_of(judge)
    weight = None if network is None else next(network.parameters(), None)
    source, done = from_loader(data, batch_size), 0
    for batch in source.epoch(None):
        check_pixels(batch.x)
        ids = torch.arange(done, done + len(batch), device=batch.x.device)
        done += len(batch)
        found = Batch(batch.x.float().clamp(0, 1), batch.y, ids)
        yield (found if weight is None else found.to(weight.device)), len(source)
    if not done:
        raise InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
