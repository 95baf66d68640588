"""Chance level of clean accuracy, below which robust accuracy says nothing about a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harden.certificate.schema import Predicate

LEAST: Final = 10
"""Fewest images; with fewer, an exact interval excludes guessing for hardly any accuracy."""


def caution(clean: str, low: float, sizes: Mapping[str, int], only: str | None = None) -> str:
    """A warning where clean accuracy is not significantly above guessing; "" where it is.

    Guessing is to predict the largest class for every image: its share of the images is at least 1/K for K
    classes. The test is the exact binomial one: the lower end of clean accuracy's interval of Clopper and
    Pearson is not above that share. A model that predicts one class for all images always gets the warning.

    Args:
        clean: clean accuracy as text.
        low: the lower end of its interval.
        sizes: number of images of each class that has any, by its name.
        only: the class predicted for every image, where it is one and known.
    """
    n = sum(sizes.values())
    if only is not None and len(sizes) > 1:
        return (
            f"clean accuracy {clean} can't be distinguished from guessing: every one of the {n:,} images "
            f"is answered {only}; robust accuracy says nothing of such a model"
        )
    largest = max(sizes, key=lambda name: sizes[name])
    share = sizes[largest] / n
    if n < LEAST or low > share:
        return ""
    return (
        f"clean accuracy {clean} can't be distinguished from guessing: answering {largest} to every image "
        f"is right for {100 * share:.1f} % of them; robust accuracy says nothing of such a model"
    )


def caution_of(predicate: Predicate) -> str:
    """The warning for a certificate, from its counts alone."""
    clean = predicate.clean
    sizes = {each.label: each.n for each in predicate.classes}
    shown = f"{100 * clean.value:.1f} % ({clean.count} of {clean.n})"
    return caution(shown, clean.interval[0], sizes) if sizes else ""
