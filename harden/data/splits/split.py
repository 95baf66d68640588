"""Stratified splits that depend on labels, groups and seed alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.data.examples import Examples
from harden.data.splits.duplicates import image_keys, number_keys
from harden.data.splits.group_shares import groups_held_out
from harden.data.splits.groups import check_shape, join_groupings
from harden.errors import InputError

_log = logging.getLogger("harden")

FAR_OFF = 0.25
"""Relative deviation of the number held out from the wanted one above which a warning is logged."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The two parts of a data set: one for training, one for the final evaluation alone.

    Args:
        train: the part for training; validation is held out from it.
        test: the part for the certificate.
        name: the data set's name in reports.
        unlabelled: images without labels, for contrastive pretraining alone.
        remarks: properties of the data and skipped files, a phrase each.

    Raises:
        InputError: the parts differ in image size or in classes, or a group is in both.
    """

    train: Examples
    test: Examples
    name: str
    unlabelled: Examples | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.train.image_shape != self.test.image_shape:
            raise InputError(
                f"{self.name}: training images of {self.train.image_shape} and test images of "
                f"{self.test.image_shape} as (C, H, W)",
                "one size in both parts",
                "resize one of them",
            )
        if self.train.classes != self.test.classes:
            raise InputError(
                f"{self.name}: classes {_listed(self.train.classes)} in training and "
                f"{_listed(self.test.classes)} in test",
                "the same classes in the same order",
                "number both parts' labels by one list of classes",
            )
        extra = self.unlabelled
        if extra is not None and extra.image_shape != self.train.image_shape:
            raise InputError(
                f"{self.name}: training images of {self.train.image_shape} and unlabelled images of "
                f"{extra.image_shape} as (C, H, W)",
                "one size in all parts",
                "resize one of them",
            )
        self._check_groups()

    @property
    def is_test_alone(self) -> bool:
        """Return whether there is no training part and the test part replaces it."""
        return self.train.x is self.test.x

    def _check_groups(self) -> None:
        if self.train.groups is None or self.test.groups is None:
            return
        both = sorted(set(self.train.groups.tolist()) & set(self.test.groups.tolist()))
        if both:
            where = [(part.groups == both[0]).nonzero()[0, 0] for part in (self.train, self.test)]
            raise InputError(
                f"{self.name}: {len(both):,} of the groups in training are in test too, first that of "
                f"training image {int(where[0])} and test image {int(where[1])}",
                "a group (patient, track, subfolder) in one part alone",
                "move its images to one part, or number the parts' groups apart if they are not the same",
            )


def split(
    examples: Examples, fraction: float, seed: int, groups: Tensor | None = None
) -> tuple[Examples, Examples]:
    """Hold out a fraction of each class; see `split_indices`.

    No group is divided, nor are images with the same pixels: a copy in the other part would leak.
    Without copies the result is that of `split_indices`.

    Args:
        examples: the set.
        fraction: share to hold out, in (0, 1).
        seed: of the choice.
        groups: group of each example, (N,); `examples.groups` where None.

    Returns:
        (rest, held_out), each in the order of `examples`.

    Raises:
        InputError: fraction is outside (0, 1), groups has another length, or a part would be empty.
    """
    groups = examples.groups if groups is None else groups
    if groups is not None:
        check_shape(groups, len(examples), examples.name)
    same = number_keys(image_keys(examples.batches(1024)))
    if same.max() + 1 < len(same):
        whole = same if groups is None else join_groupings(groups.cpu().numpy(), same)
        groups = torch.from_numpy(whole)
    rest, held_out = split_indices(examples.y, fraction, seed, groups)
    return examples.take(rest), examples.take(held_out)


def split_indices(
    y: Tensor, fraction: float, seed: int, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose positions to hold out, class by class.

    Of a class with n >= 2 examples, fraction n are held out, rounded up or down so that the whole has its
    share too (largest remainders), at least 1 and at most n - 1; a class with one example stays in the rest.
    With groups (N,), such as a patient or a video for each image, whole groups are held out: first their
    number of examples, then the counts of classes are as near to these as groups allow, and no class loses
    its last group; see `harden.data.splits.group_shares`. A warning is logged where the number is far from
    that and where nothing of a class is held out.

    The choice depends on (y, fraction, seed, groups) alone: it orders examples by raw bits of PCG64, whose
    stream numpy promises never to change, so a test set has the same digest under any version.

    Returns:
        (rest, held_out): int64 positions, ascending, disjoint, together all of 0..N-1.

    Raises:
        InputError: fraction is outside (0, 1), groups has another length, or a part would be empty.
    """
    if not 0.0 < fraction < 1.0:
        raise InputError(f"a fraction of {fraction}", "a number in (0, 1)", "write 0.1 to hold out a tenth")
    labels = y.cpu().numpy()
    if groups is None:
        mask = _hold_out_each(labels, fraction, seed)
    else:
        check_shape(groups, len(y), "split")
        mask = _hold_out_groups(labels, groups.cpu().numpy(), fraction, seed)
    if mask.all() or not mask.any():
        raise InputError(
            f"{len(labels):,} examples"
            + (f" in {len(torch.unique(groups)):,} groups" if groups is not None else "")
            + f" of which a fraction of {fraction} can't be held out",
            "a class with at least two examples"
            + (" in different groups (identical images are one)" if groups is not None else ""),
            "pass more data, or a validation set of your own",
        )
    chosen = torch.from_numpy(mask)
    return (~chosen).nonzero().squeeze(1), chosen.nonzero().squeeze(1)


def sample(examples: Examples, size: int, seed: int) -> Examples:
    """Choose exactly `size` examples, stratified as far as that goes, in their order.

    Where `split` with the fraction size / N holds out `size` examples without groups, the results are equal.

    Raises:
        InputError: size is outside 1..N.
    """
    if not 0 < size <= len(examples):
        raise InputError(
            f"a sample of {size:,} out of {len(examples):,} images",
            "1 to all of them",
            "pass a smaller number",
        )
    _, label, sizes = np.unique(examples.y.cpu().numpy(), return_inverse=True, return_counts=True)
    wanted = sizes * (size / len(examples))
    counts = _shares(sizes, size / len(examples), size)
    while counts.sum() != size:  # one by one, where the count is furthest from the class's share
        step = 1 if counts.sum() < size else -1
        open_to = counts < sizes if step > 0 else counts > 0
        counts[np.argmax(np.where(open_to, step * (wanted - counts), -np.inf))] += step
    chosen = torch.from_numpy(_pick(label, len(sizes), counts, seed))
    return examples.take(chosen.nonzero().squeeze(1))


def _shuffled(n: int, seed: int) -> NDArray[np.int64]:
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable").astype(np.int64)


def _hold_out_each(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    classes, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    counts = _shares(sizes, fraction, int(fraction * len(labels) + 0.5))
    return _pick(label, len(classes), counts, seed)


def _shares(sizes: NDArray[np.int64], fraction: float, whole: int) -> NDArray[np.int64]:
    """Count of each class to hold out: fraction of its size, rounded by largest remainders."""
    wanted = fraction * sizes
    counts: NDArray[np.int64] = np.clip(np.floor(wanted), np.minimum(sizes - 1, 1), sizes - 1).astype(
        np.int64
    )
    # The largest remainders are rounded up, until the whole has its share.
    short = whole - int(counts.sum())
    remainder = np.where(counts < np.minimum(sizes - 1, wanted), wanted - counts, 0.0)
    for position in np.argsort(-remainder, kind="stable")[: max(short, 0)]:
        counts[position] += remainder[position] > 0
    return counts


def _pick(label: NDArray[np.int64], classes: int, counts: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    mask = np.zeros(len(label), dtype=np.bool_)
    order = _shuffled(len(label), seed)
    # Class by class, each in the shuffled order: one sort, however many classes there are.
    by_class = order[np.argsort(label[order], kind="stable")]
    ends = np.cumsum(np.bincount(label, minlength=classes))
    place = np.arange(len(label)) - np.repeat(ends - np.diff(ends, prepend=0), np.diff(ends, prepend=0))
    mask[by_class[place < np.repeat(counts, np.diff(ends, prepend=0))]] = True
    return mask


def _hold_out_groups(
    labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose whole groups; log a warning where their number is far from the share or classes are missing."""
    _, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    wanted = int(_shares(sizes, fraction, int(fraction * len(labels) + 0.5)).sum())
    mask = groups_held_out(labels, groups, fraction, wanted, seed)
    held = int(mask.sum())
    if 0 < held < len(labels):
        missing = int((np.bincount(label[mask], minlength=len(sizes)) == 0).sum())
        if abs(held - wanted) > max(FAR_OFF * wanted, 1):
            _log.warning(
                "%d of %d examples held out (%.3g %%) where %d (%.3g %%) were wanted: no sum of whole"
                " groups is nearer that leaves every class examples to train on",
                held,
                len(labels),
                100 * held / len(labels),
                wanted,
                100 * wanted / len(labels),
            )
        if missing:
            _log.warning(
                "%d of the %d classes have no example among the %d held out: their groups are too large",
                missing,
                len(sizes),
                held,
            )
    return mask


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"({shown}, ... {len(names)} in all)" if len(names) > 5 else f"({shown})"
