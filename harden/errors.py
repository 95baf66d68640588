"""Exceptions of harden: a message in three parts, and the exit code of the command line."""

from __future__ import annotations

from typing import ClassVar


class HardenError(Exception):
    """An error whose message states what was seen, what was expected, and what to write instead.

    Args:
        seen: what was found, with its value ("images have min -2.118 and max 2.640").
        expected: what would have been right ("pixels in [0, 1]").
        instead: an instruction the user can follow ("pass images before normalisation ...").
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, seen: str, expected: str, instead: str) -> None:
        super().__init__(f"{seen}; expected {expected}; {instead}")
        self.seen = seen
        self.expected = expected
        self.instead = instead

    def __reduce__(self) -> tuple[type[HardenError], tuple[str, str, str]]:
        return type(self), (self.seen, self.expected, self.instead)


class InputError(HardenError):
    """An argument, a file or a data set is invalid; nothing was written."""


class HeldError(InputError):
    """Another process or thread is writing to the same folder."""


class ExportError(HardenError):
    """The exported graph does not compute what the model computes; nothing was left behind."""


class DivergedError(HardenError):
    """The loss or its gradient is NaN or infinite; training stopped."""


class LostProcessError(HardenError):
    """Another process of the same run has ended or does not answer; this one can't go on alone."""


class CleanLimitError(HardenError):
    """No weights of a run are within its limit on the loss of clean accuracy; nothing was written."""

    exit_code: ClassVar[int] = 1


class BrokenClaimError(HardenError):
    """A file differs from its digest, or a claim of a certificate does not hold."""

    exit_code: ClassVar[int] = 1


class RegressionError(HardenError):
    """A model is worse than the one before, without acceptance; nothing was written."""

    exit_code: ClassVar[int] = 1


class BaselineError(InputError):
    """The baseline is missing or does not fit: other data, another attack, a damaged file."""

    exit_code: ClassVar[int] = 4
