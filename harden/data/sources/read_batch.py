"""Reader of images and labels from the batches of a loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from harden.data.batch import Batch
from harden.data.examples import to_unit
from harden.data.formats.arrays import images, labels
from harden.data.image_checks import UNLABELLED, check_images, check_labels
from harden.data.sources.batch_fields import Fields, image_alone, image_and_label
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class BatchReader:
    """Reader of a loader's batches.

    Args:
        name: the loader's name in messages.
        fields: keys, attributes or positions of images and labels; pairs and well-known names where None.
        labelled: whether labels are read; all are -1 otherwise.
    """

    name: str
    fields: Fields | None = None
    labelled: bool = True

    def pair(self, item: object) -> tuple[Tensor, Tensor]:
        """Read one batch as (x (B, C, H, W) of its own type, y int64 (B,)), checked.

        Raises:
            InputError: images or labels are ambiguous or invalid.
        """
        if not self.labelled:
            field = None if self.fields is None else self.fields[0]
            x = self._images(image_alone(item, field, self.name))
            return x, torch.full((len(x),), UNLABELLED)
        found_x, found_y = image_and_label(item, self.fields, self.name)
        if isinstance(found_y, int) or getattr(found_y, "ndim", 1) == 0:
            raise InputError(
                f"{self.name}: single examples",
                "batches",
                "pass torch.utils.data.DataLoader(dataset, batch_size=128)",
            )
        y = labels(found_y, f"{self.name}: y")
        x = self._images(found_x)
        check_labels(y, x.shape[0], None, self.name)
        return x, y

    def batch(self, item: object, index: Tensor) -> Batch:
        """Read one batch whose positions are known.

        Raises:
            InputError: as `pair`, or there are more or fewer examples than positions.
        """
        x, y = self.pair(item)
        if len(x) != len(index):
            raise InputError(
                f"{self.name}: {len(x)} images from {len(index)} examples",
                "one image for each example",
                "leave mixing, dropping and repeating of examples out of collate_fn",
            )
        return Batch(to_unit(x), y, index)

    def _images(self, found: object) -> Tensor:
        x = images(found, f"{self.name}: x")
        x = x.float() if x.dtype in (torch.float64, torch.float16, torch.bfloat16) else x
        check_images(x, self.name)
        return x


def annotate_errors(items: Iterable[Any], name: str) -> Iterator[Any]:
    """Yield items unchanged; add a note with the batch number to exceptions of the loader."""
    position = 0
    iterator: Iterator[Any] | None = None
    while True:
        try:
            # iter() is called here, so that its exceptions get a note and its random draws happen in this
            # generator.
            iterator = iter(items) if iterator is None else iterator
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:  # a user's loader may raise anything; it is raised again
            error.add_note(
                f"raised by the data loader ({name}) while it made batch {position}, counted from 0"
            )
            if isinstance(error, ConnectionError | EOFError) or "DataLoader worker" in str(error):
                error.add_note(
                    "a worker process ended; most often it was out of memory, and num_workers=0 shows more"
                )
            raise
        yield item
        position += 1
