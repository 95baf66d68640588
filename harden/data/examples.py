"""Labelled images in memory, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.dataset_digest import digest
from harden.data.image_checks import check_images, check_labels, check_names
from harden.data.splits.groups import check_groups
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """A labelled set of images of one size, checked when it is built.

    Args:
        x: images (N, C, H, W): uint8 in 0..255, uint16 in 0..65535, or float32 in [0, 1].
        y: labels, int64 (N,), each in 0..len(classes) - 1.
        classes: the names of the classes, in the order of their labels. A set without labels has no
            classes, and -1 for each label.
        name: the set's name in reports.
        groups: number of each image's group (a patient, a track), integers (N,); no split divides a group.
            A number means the same group in every set.

    Raises:
        InputError: a name that is no Unicode text, no images, NaN or infinity, pixels outside their range,
            channels last, labels that are not integers or are out of range, or not one label and one group
            for each image.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    name: str = "examples"
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        check_names((self.name, *self.classes))
        # A graph left by an attack would be kept in memory, and no digest could be computed.
        if self.x.requires_grad:
            object.__setattr__(self, "x", self.x.detach())
        check_images(self.x, self.name)
        check_labels(self.y, self.x.shape[0], len(self.classes), self.name)
        if self.x.device != self.y.device:
            raise InputError(
                f"{self.name}: images on {self.x.device} and labels on {self.y.device}",
                "both on one device",
                "write y.to(x.device)",
            )
        if self.groups is not None:
            check_groups(self.groups, self.x.shape[0], self.name)
            object.__setattr__(self, "groups", self.groups.to(self.y.device, torch.int64))

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of an image."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    def take(self, index: Tensor) -> Examples:
        """Select the examples at these positions, int64 (M,), in their order; positions count anew from 0."""
        where = index.to(self.x.device)
        groups = None if self.groups is None else self.groups[where]
        return Examples(rows(self.x, where), self.y[where], self.classes, self.name, groups)

    def batch(self, index: Tensor) -> Batch:
        """Return the examples at these positions, int64 (B,), with pixels in [0, 1] as float32."""
        where = index.to(self.x.device)
        return Batch(to_unit(rows(self.x, where)), self.y[where], where)

    def batches(
        self, size: int, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Iterate over all examples once, in batches: shuffled by the generator, in order when it is None.

        The order is drawn once for an epoch, at the call, before the first batch is read.

        Raises:
            InputError: size is below 1.
        """
        order = batch_indices(len(self), size, generator, drop_last)
        return (self.batch(index) for index in order)

    def digest(self) -> str:
        """Sha256 of the content, whatever its order and stored type; see `harden.data.dataset_digest`."""
        return digest(self.batches(1024))


def check_trainable(examples: Examples) -> None:
    """Raise InputError when all labels of the set are the same, so that no classifier can be trained."""
    seen = torch.unique(examples.y).tolist()
    if len(seen) < 2:
        raise InputError(
            f"{examples.name}: all {len(examples):,} labels are {seen[0]}",
            "examples of at least two classes",
            "check how labels are read, or whether the set is sorted by class and was cut",
        )


def to_unit(x: Tensor) -> Tensor:
    """Convert uint8 (/ 255) or uint16 (/ 65535) images to float32 in [0, 1]; float32 is unchanged."""
    if x.dtype == torch.float32:
        return x
    top = 255.0 if x.dtype == torch.uint8 else 65535.0
    # A tensor on the same device, not a number: CUDA divides by a number through its reciprocal, which
    # differs in the last bit from what the CPU computes.
    return x.to(torch.float32) / torch.tensor(top, device=x.device)


def batch_indices(
    n: int, size: int, generator: torch.Generator | None = None, drop_last: bool = False
) -> list[Tensor]:
    """Cut 0..n-1, shuffled where a generator is given, into int64 tensors of `size`; the last may be less."""
    if size < 1:
        raise InputError(f"a batch size of {size}", "at least 1", "pass a positive batch size")
    if generator is None:
        order = torch.arange(n)
    else:
        order = torch.randperm(n, generator=generator, device=generator.device).cpu()
    cut = list(torch.split(order, size))
    return cut[:-1] if drop_last and cut and len(cut[-1]) < size else cut


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Select images of any stored type by their positions, or by a bool mask."""
    if x.dtype == torch.uint16:
        # torch indexes few unsigned types; the bits are the same.
        return x.view(torch.int16)[index].view(torch.uint16)
    return x[index]
