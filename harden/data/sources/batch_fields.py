"""Selection of images and labels from the batches of a loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from harden.errors import InputError

Field = str | int
Fields = tuple[Field, Field]

IMAGE_NAMES = ("image", "images", "img", "x", "pixel_values")
LABEL_NAMES = ("label", "labels", "y", "target", "targets")

_CALL = "harden.data.from_loader(loader, fields=({images!r}, {labels!r}))"


def check_fields(fields: Fields | None) -> None:
    """Raise InputError unless fields are two keys, attributes or positions, or None."""
    if fields is None:
        return
    named = isinstance(fields, tuple | list) and len(fields) == 2
    if not named or not all(isinstance(part, str | int) and not isinstance(part, bool) for part in fields):
        raise InputError(
            f"fields {fields!r}",
            "the keys, attributes or positions of images and labels",
            'write fields=("image", "label") or fields=(0, 1)',
        )


def image_and_label(item: object, fields: Fields | None, name: str) -> tuple[object, object]:
    """Select images and labels from a batch: by fields, as a pair, or by their well-known names.

    Raises:
        InputError: a field is missing, or the parts are ambiguous.
    """
    if fields is not None:
        return _field(item, fields[0], name), _field(item, fields[1], name)
    named = named_parts(item)
    if named is not None:
        images, labels = (_known(named, names) for names in (IMAGE_NAMES, LABEL_NAMES))
        if images is not None and labels is not None:
            return named[images], named[labels]
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise _unclear(item, name)


def image_alone(item: object, field: Field | None, name: str) -> object:
    """Select the images from a batch whose labels, if it has any, are ignored.

    Raises:
        InputError: the field is missing, or the part is ambiguous.
    """
    if field is not None:
        return _field(item, field, name)
    if isinstance(item, Tensor | np.ndarray):
        return item
    named = named_parts(item)
    images = None if named is None else _known(named, IMAGE_NAMES)
    if named is not None and images is not None:
        return named[images]
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        return item[0]
    raise InputError(
        f"{name}: a batch of {describe_batch(item)}",
        "images, (x,), (x, y), or one part named " + " or ".join(IMAGE_NAMES),
        f"write harden.data.unlabelled(loader, field={_guess(item)[0]!r})",
    )


def named_parts(item: object) -> Mapping[str, object] | None:
    """Return the parts of a batch that have names: of a mapping, a named tuple or an object."""
    if isinstance(item, Mapping):
        return {key: part for key, part in item.items() if isinstance(key, str)}
    keys = getattr(item, "_fields", None)
    if isinstance(item, tuple) and keys is not None:
        return dict(zip(keys, item, strict=True))
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    if isinstance(item, Tensor | np.ndarray | tuple | list):
        return None
    return getattr(item, "__dict__", None)


def describe_batch(item: object) -> str:
    """Describe the structure of a batch in a few words."""
    named = named_parts(item)
    if named is None:
        return f"{len(item)} things" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
    keys = list(item) if isinstance(item, Mapping) else list(named)
    shown = ", ".join(map(repr, keys[:10])) + (f", ... {len(keys)} in all" if len(keys) > 10 else "")
    return f"a {type(item).__name__} with {shown or 'nothing'}"


def _field(item: object, field: Field, name: str) -> object:
    if isinstance(item, Mapping):
        if field in item:
            return item[field]
    elif isinstance(field, int):
        if isinstance(item, tuple | list) and -len(item) <= field < len(item):
            return item[field]
    else:
        plain = isinstance(item, Tensor | np.ndarray | tuple | list) and not hasattr(item, "_fields")
        if not plain and hasattr(item, field):
            return getattr(item, field)
    raise InputError(
        f"{name}: a batch of {describe_batch(item)}", f"the field {field!r} in it", f"write {_call(item)}"
    )


def _known(named: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    """Return the well-known name that occurs; None where none or several do."""
    found = [name for name in names if name in named]
    return found[0] if len(found) == 1 else None


def _unclear(item: object, name: str) -> InputError:
    several = isinstance(item, tuple | list) and len(item) > 2
    known = several or named_parts(item)
    return InputError(
        f"{name}: a batch of {describe_batch(item)}",
        "a pair (x, y), or one part each with a usual name for images and labels, such as image and label",
        f"write {_call(item)}" if known else "give the DataLoader a collate_fn that returns (x, y)",
    )


def _call(item: object) -> str:
    images, labels = _guess(item)
    return _CALL.format(images=images, labels=labels)


def _guess(item: object) -> tuple[Field, Field]:
    """Guess the fields of images and labels by shape, for a message."""
    named = named_parts(item)
    parts: dict[Field, object] = {}
    parts.update(named or {})
    if isinstance(item, tuple | list) and named is None:
        parts.update(enumerate(item))
    axes = {field: getattr(part, "ndim", -1) for field, part in parts.items()}
    images = [field for field, count in axes.items() if count in (3, 4)]
    labels = [field for field, count in axes.items() if count == 1]
    by_position = isinstance(item, tuple | list) and named is None
    return (
        images[0] if images else (0 if by_position else "IMAGES"),
        labels[0] if labels else (1 if by_position else "LABELS"),
    )
