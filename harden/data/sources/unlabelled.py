"""Images without labels, for contrastive pretraining."""

from __future__ import annotations

from dataclasses import replace

import torch

from harden.data.examples import Examples
from harden.data.formats.arrays import images
from harden.data.image_checks import UNLABELLED
from harden.data.sources.batch_fields import Field
from harden.data.sources.dataloader import LoaderSource
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.loader_adapter import adapt, is_array, is_source
from harden.data.sources.read_batch import BatchReader
from harden.data.sources.source import Source
from harden.data.sources.stream import StreamSource
from harden.data.splits.split import Splits
from harden.errors import InputError


def unlabelled(loader: object, batch_size: int = 128, *, field: Field | None = None) -> Source:
    """Convert images whose labels are missing or ignored to a source; every label of a batch is -1.

    The result serves contrastive pretraining alone: nothing can be held out from it, and no loss on labels
    accepts -1. A user's own Source is returned unchanged.

    Args:
        loader: as `from_loader`; batches may also be images alone, (x,), or the part that `field` selects; an
            array of images is accepted as well.
        batch_size: for data without a batch size of its own.
        field: key, attribute or position of the images in a batch.

    Raises:
        InputError: as `from_loader`.
    """
    if isinstance(loader, Splits):
        raise InputError("Splits as a loader", "one part of them", "pass splits.unlabelled or splits.train")
    if isinstance(loader, ExamplesSource):
        return ExamplesSource(_bare(loader.examples), loader.batch_size)
    if isinstance(loader, LoaderSource | StreamSource):
        return _bare_source(loader)
    if isinstance(loader, Examples):
        return ExamplesSource(_bare(loader), batch_size)
    array = _array_of(loader)
    if array is not None:
        return ExamplesSource(_from_array(array), batch_size)
    if is_source(loader):
        return loader
    fields = None if field is None else (field, field)
    return adapt(loader, batch_size, BatchReader("", fields, labelled=False))


def _bare(examples: Examples) -> Examples:
    return Examples(examples.x, torch.full_like(examples.y, UNLABELLED), (), examples.name, examples.groups)


def _bare_source(source: LoaderSource | StreamSource) -> Source:
    reader = replace(source.reader, labelled=False)
    if isinstance(source, LoaderSource):
        return replace(source, reader=reader)
    labels = torch.full_like(source.labels_of_all, UNLABELLED)
    return replace(source, reader=reader, labels_of_all=labels, classes=None, sample=None)


def _array_of(loader: object) -> object | None:
    """Return the images of an array, or of a pair of images and labels; None for anything else."""
    if is_array(loader):
        return loader
    if isinstance(loader, tuple | list) and len(loader) == 2 and is_array(loader[0]):
        # Two arrays of images are two batches.
        return loader[0] if getattr(loader[1], "ndim", 1) < 3 else None
    return None


def _from_array(array: object) -> Examples:
    x = images(array, "x")
    x = x.float() if x.dtype in (torch.float64, torch.float16, torch.bfloat16) else x
    y = torch.full((len(x),), UNLABELLED, device=x.device)
    return Examples(x.detach(), y, (), "images without labels")
