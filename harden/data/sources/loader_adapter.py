"""Conversion of users' loaders, datasets and arrays to sources of batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from harden.data.examples import Examples
from harden.data.formats.arrays import images, labels
from harden.data.formats.label_values import check_proportion
from harden.data.formats.pixel_range_checks import check_extent, extent
from harden.data.sources.batch_fields import Fields, check_fields
from harden.data.sources.dataloader import from_data_loader, loader_name
from harden.data.sources.dataset_metadata import stored_classes, stored_groups
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.read_batch import BatchReader, annotate_errors
from harden.data.sources.source import Source
from harden.data.sources.stream import StreamSource
from harden.data.sources.stream_order import FirstPassSample
from harden.data.sources.transform_rng import with_private_rng
from harden.data.splits.groups import check_groups, group_numbers
from harden.data.splits.split import Splits
from harden.errors import InputError

_log = logging.getLogger("harden")

MEMORY_LIMIT = 2 * 2**30
"""Bytes of images up to which `from_loader` keeps a loader without random access in memory."""

SHUFFLE_SHARE = 8
"""A stream is shuffled in a buffer of MEMORY_LIMIT over this number; twice the buffer is needed briefly."""


def from_loader(
    loader: object, batch_size: int = 128, *, fields: Fields | None = None, groups: object = None
) -> Source:
    """Convert a user's training data to a source.

    Args:
        loader: a Source (returned unchanged) · Examples · a pair (x, y) of tensors, images (N, C, H, W), or
            of numpy arrays, images (N, H, W, C) · a DataLoader over a map-style dataset, whose batch size,
            workers and collate_fn are kept, and whose order is replaced · such a dataset itself · any
            iterable of batches, which is read once and kept in memory, up to `MEMORY_LIMIT`; beyond it, one
            that can be iterated again is read again in each epoch, and an iterator is refused.
        batch_size: for data without a batch size of its own.
        fields: keys, attributes or positions of images and labels in a batch, ("image", "label") or (0, 2);
            by default a pair is (x, y), and well-known names are used where they are unambiguous.
        groups: group of each example of the dataset (a patient, a track), integers or strings; a dataset's
            own `groups` by default. No group is divided when examples are held out.

    Raises:
        InputError: none of these, empty, too large to keep, or with invalid images or labels.
    """
    check_fields(fields)
    if isinstance(loader, Splits):
        raise InputError("Splits as a loader", "one part of them", "pass splits.train")
    if isinstance(loader, Examples) or _is_pair(loader):
        _check_unused(fields=fields, what="images in memory")
        examples = loader if isinstance(loader, Examples) else _in_memory(*_pair(loader), "(x, y)")
        return ExamplesSource(_grouped(examples, groups), batch_size)
    if is_source(loader):
        _check_unused(fields=fields, groups=groups, what="a source")
        return loader
    return adapt(loader, batch_size, BatchReader("", fields), groups)


def adapt(loader: object, batch_size: int, reader: BatchReader, groups: object = None) -> Source:
    """Convert a dataset, a DataLoader or an iterable of batches, read by the reader.

    Raises:
        InputError: as `from_loader`.
    """
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        loader = DataLoader(loader, batch_size=batch_size)
    name = loader_name(loader) if isinstance(loader, DataLoader) else type(loader).__name__
    reader = replace(reader, name=name)
    if isinstance(loader, DataLoader) and _has_positions(loader):
        return from_data_loader(loader, reader, groups)
    if isinstance(loader, Iterable) and not isinstance(loader, str | bytes | dict):
        source = _one_pass(loader, reader)
        groups = _own_groups(loader, name) if groups is None else groups
        if isinstance(source, ExamplesSource):
            return ExamplesSource(_grouped(source.examples, groups), source.batch_size)
        return replace(source, groups=_numbers(groups, len(source), name))
    raise InputError(
        f"a loader of type {type(loader).__name__}",
        "a DataLoader, Examples, a pair (x, y), or an iterable of batches",
        "pass the pair (loader['x'], loader['y'])"
        if isinstance(loader, dict)
        else "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
    )


def is_source(value: object) -> TypeGuard[Source]:
    """Return whether a value is a Source, harden's own or a user's."""
    return all(callable(getattr(value, name, None)) for name in ("epoch", "hold_out", "describe", "__len__"))


def _check_unused(*, what: str, fields: object = None, groups: object = None) -> None:
    for name, value in (("fields", fields), ("groups", groups)):
        if value is not None:
            raise InputError(
                f"{name} for {what}",
                "a loader or dataset",
                f"leave {name} out, or give the loader",
            )


def _is_pair(value: object) -> bool:
    # A pair of batches [(x, y), (x, y)] is a tuple of two as well.
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    return is_array(value[0]) or _are_images(value[0], value[1])


def _are_images(x: object, y: object) -> bool:
    """Return whether x is a list of single images (three axes each) with as many labels."""
    if not isinstance(x, tuple | list) or not x or not isinstance(y, Sized) or len(y) != len(x):
        return False
    return all(is_array(image) and getattr(image, "ndim", 0) == 3 for image in x)


def is_array(value: object) -> bool:
    """Return whether a value is an array or a tensor."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _pair(value: Any) -> tuple[Tensor, Tensor]:
    return images(value[0], "x"), labels(value[1], "y")


def _has_positions(loader: DataLoader[Any]) -> bool:
    batched = loader.batch_sampler is not None
    return batched and not isinstance(loader.dataset, IterableDataset)


def _grouped(examples: Examples, groups: object) -> Examples:
    numbers = _numbers(groups, len(examples), examples.name)
    return examples if numbers is None else replace(examples, groups=numbers)


def _own_groups(loader: object, name: str) -> object:
    over = getattr(loader, "dataset", loader)
    if isinstance(over, Subset | ConcatDataset):
        return stored_groups(over, name)
    return getattr(over, "groups", None)  # one for each example read; the loader's length may count batches


def _numbers(groups: object, n: int, name: str) -> Tensor | None:
    if groups is None:
        return None
    (numbers,) = group_numbers([groups], [name])
    check_groups(numbers, n, name)
    return numbers


def _in_memory(x: Tensor, y: Tensor, name: str, classes: tuple[str, ...] | None = None) -> Examples:
    x = x.float() if x.dtype in (torch.float64, torch.float16, torch.bfloat16) else x
    highest = int(y.max()) if y.ndim == 1 and len(y) and y.dtype == torch.int64 else 0
    if classes is None or 0 < len(classes) <= highest:
        check_proportion(highest, len(torch.unique(y)), name)
        classes = tuple(str(label) for label in range(max(highest, 0) + 1))
    examples = Examples(x.detach(), y, classes, name)
    check_extent(x, *extent([x]), name)
    return examples


def _one_pass(loader: Iterable[Any], reader: BatchReader) -> ExamplesSource | StreamSource:
    """Read a loader once and keep its images, or, where they are too many, its labels alone."""
    classes = stored_classes(getattr(loader, "dataset", loader)) if reader.labelled else ()
    kept: list[Tensor] = []
    labels_seen: list[Tensor] = []
    forms: set[tuple[str, tuple[int, ...]]] = set()
    held = size = image_bytes = 0
    reported = MEMORY_LIMIT
    # Nothing is held out from images without labels, so their order may change.
    sample = FirstPassSample() if reader.labelled and not isinstance(loader, Iterator) else None
    # As in an epoch, transforms neither read nor change the global random states.
    for item in with_private_rng(annotate_errors(loader, reader.name), 0):
        x, y = reader.pair(item)
        size, image_bytes = size or len(x), max(image_bytes, x[0].numel() * x.element_size())
        held += x.numel() * x.element_size()
        forms.add((str(x.dtype), tuple(x.shape[1:])))
        if sample is not None:
            sample.add(x)
        # A loader may yield the same memory again with other content.
        labels_seen.append(y.detach().clone())
        if held <= MEMORY_LIMIT:
            kept.append(x.detach().clone())
        elif isinstance(loader, Iterator):
            raise _too_large(reader.name)
        else:
            kept = []
            if (
                held > reported
            ):  # at 2, 4, 8, ... GiB: an endless loader can't be distinguished from a long one
                reported *= 2
                count = sum(len(part) for part in labels_seen)
                _log.info(
                    "%s: %d images so far; the first pass counts them all, so the loader has to end",
                    reader.name,
                    count,
                )
    if not labels_seen:
        raise InputError(
            f"{reader.name}: no batches", "at least one", "pass a fresh iterator, or check its filter"
        )
    if len(forms) > 1:
        seen = f"{reader.name}: images of {len(forms)} kinds: {sorted(map(str, forms))}"
        raise InputError(seen, "one type and size", "convert them")
    y = torch.cat(labels_seen)
    if held <= MEMORY_LIMIT:
        return ExamplesSource(_in_memory(torch.cat(kept), y, reader.name, classes), size)
    buffer = max(2 * size, MEMORY_LIMIT // SHUFFLE_SHARE // image_bytes)
    every = torch.ones(len(y), dtype=torch.bool)
    return StreamSource(loader, reader, y, every, size, buffer, classes or None, sample=sample)


def _too_large(name: str) -> InputError:
    return InputError(
        f"{name}: over {MEMORY_LIMIT / 2**30:.0f} GiB of images from an iterator, which passes once",
        "less, or an iterable that begins anew at each iter(), or random access",
        "pass a DataLoader over a map-style dataset, whose images are read when they are needed",
    )
