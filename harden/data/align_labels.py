"""Renumbering of test labels by the classes of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from harden.data.examples import Examples
from harden.data.splits.split import Splits
from harden.errors import InputError

_log = logging.getLogger("harden")


def are_numbers(classes: Sequence[str]) -> bool:
    """Return whether classes are named by their numbers, "0", "1", ..., the default without names."""
    return list(classes) == [str(label) for label in range(len(classes))]


def with_classes(splits: Splits, names: Sequence[str]) -> Splits:
    """Number a test part's labels by a model's list of classes.

    A set with a training part has all its classes and keeps them; a difference is logged as a warning.

    Args:
        splits: a test part alone, which may lack classes, see `Splits.is_test_alone`; or a whole set.
        names: names of the model's classes, in the order of its logits.

    Raises:
        InputError: the data has a class that the model lacks.
    """
    own, known = splits.test.classes, tuple(names)
    if own == known:
        return splits
    if not splits.is_test_alone:
        if not are_numbers(own) and not are_numbers(known):
            first = next((pair for pair in zip(own, known, strict=False) if pair[0] != pair[1]), None)
            _log.warning(
                "%s: its classes are not those that the model was certified on%s",
                splits.name,
                f": {first[0]!r} in the place of {first[1]!r}" if first else "",
            )
        return splits
    if are_numbers(own):
        if len(own) > len(known):
            return splits
        return _renumbered(splits, known, list(range(len(own))))
    if are_numbers(known):
        return splits
    unknown = [name for name in own if name not in set(known)]
    if unknown:
        raise InputError(
            f"{splits.name}: images of {', '.join(unknown[:5])}",
            f"classes of the model: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}",
            "evaluate it on the data of its task, or name the folders as its classes",
        )
    return _renumbered(splits, known, [known.index(name) for name in own])


def _renumbered(splits: Splits, names: tuple[str, ...], labels: list[int]) -> Splits:
    number = torch.tensor(labels, device=splits.test.y.device)

    def of(part: Examples) -> Examples:
        return replace(part, y=number[part.y], classes=names)

    test = of(splits.test)
    return replace(splits, train=replace(test, groups=None), test=test)
