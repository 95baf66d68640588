"""What guessing gets: of a model that is not better, robust accuracy says nothing, and that is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harden.certificate.schema import Predicate

LEAST: Final = 10
"""Images; of fewer, an exact interval can tell next to no accuracy from guessing."""


def caution(clean: str, low: float, sizes: Mapping[str, int], only: str | None = None) -> str:
    """A line where clean accuracy can't be told from what guessing gets; "" where it can.

    Guessing is to answer the largest class to every image: its share of the images is at least 1/K for K
    classes. The test is the exact binomial one: the lower end of clean accuracy's interval of Clopper and
    Pearson is not above that share. Of a model that gives one answer to all images it is always said.

    Args:
        clean: clean accuracy in words.
        low: the lower end of its interval.
        sizes: number of images of each class that has any, by its name.
        only: the answer to every image, where all are the same and that is known.
    """
    n = sum(sizes.values())
    if only is not None and len(sizes) > 1:
        return (
            f"clean accuracy {clean} can't be told from guessing: every one of the {n:,} images is answered "
            f"{only}; robust accuracy says nothing of such a model"
        )
    largest = max(sizes, key=lambda name: sizes[name])
    share = sizes[largest] / n
    if n < LEAST or low > share:
        return ""
    return (
        f"clean accuracy {clean} can't be told from guessing: answering {largest} to every image is right "
        f"for {100 * share:.1f} % of them; robust accuracy says nothing of such a model"
    )


def caution_of(predicate: Predicate) -> str:
    """The same of what a certificate claims, from its counts alone."""
    clean = predicate.clean
    sizes = {each.label: each.n for each in predicate.classes}
    shown = f"{100 * clean.value:.1f} % ({clean.count} of {clean.n})"
    return caution(shown, clean.interval[0], sizes) if sizes else ""
