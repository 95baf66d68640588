"""Limits on size and cost of files that are read, in one table, each entry with its reason.

A file from a stranger may be small and cost gigabytes or hours. Each limit is above the need of honest files
and below what is harmful; where an honest file exceeds one, its environment variable raises it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, final

from harden.errors import InputError

_MIB, _GIB = 2**20, 2**30


@final
@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The largest amount of something in a file.

    Attributes:
        name: name in capitals; HARDEN_MOST_NAME is the environment variable that replaces the number.
        usual: default number.
        unit: unit of the number.
        reason: reason for the number.
    """

    name: str
    usual: int
    unit: str
    reason: str

    @property
    def variable(self) -> str:
        """The environment variable that replaces the number."""
        return f"HARDEN_MOST_{self.name}"

    @property
    def value(self) -> int:
        """The number in this process.

        Raises:
            InputError: the environment variable holds no positive whole number.
        """
        given = os.environ.get(self.variable)
        if given is None:
            return self.usual
        if not (given.isascii() and given.isdecimal() and 0 < len(given) < 20 and int(given) > 0):
            raise InputError(
                f"{self.variable}={given[:40]!r}",
                f"a positive whole number of {self.unit}",
                f"write {self.variable}={self.usual}",
            )
        return int(given)

    def excess(self, found: int) -> str:
        """Return the reason for refusing an amount, with the variable to set; "" within the limit."""
        most = self.value
        if found <= most:
            return ""
        shown = f"{found:,}" if found < 10**18 else "more than 10^18"
        return f"{shown} {self.unit}, at most {most:,} unless {self.variable} says more"

    def check(self, what: str, found: int) -> None:
        """Raise InputError for an amount above the limit.

        Args:
            what: name of the object in the message.
            found: its amount.

        Raises:
            InputError: with the variable that raises the limit.
        """
        most = self.value
        if found > most:
            shown = f"{found:,}" if found < 10**18 else "more than 10^18"
            raise InputError(
                f"{what} of {shown} {self.unit}",
                f"at most {most:,}",
                f"set {self.variable} to a larger number if you trust the file and have the memory",
            )


CONFIG_BYTES: Final = SizeLimit("CONFIG_BYTES", _MIB, "bytes", "a file of options has some hundreds")
CONFIG_DEPTH: Final = SizeLimit(
    "CONFIG_DEPTH", 32, "levels", "options are one table deep; a dotted key costs the square of its parts"
)
JSON_BYTES: Final = SizeLimit("JSON_BYTES", 64 * _MIB, "bytes", "a certificate of 50,000 images has 100 kB")
JSON_DEPTH: Final = SizeLimit("JSON_DEPTH", 64, "levels", "a certificate has 9")
JSON_VALUES: Final = SizeLimit(
    "JSON_VALUES",
    2**20,
    "values",
    "20 for each class of a certificate; parsed, checked and written again they take some 300 bytes each",
)
JSON_DIGITS: Final = SizeLimit("JSON_DIGITS", 400, "digits", "float64 needs at most 25 to be read back")
PROPERTY_BYTES: Final = SizeLimit(
    "PROPERTY_BYTES", 64 * _MIB, "bytes", "a box around an image of 224 x 224 x 3 takes 18 MB"
)
PROPERTY_WORDS: Final = SizeLimit(
    "PROPERTY_WORDS", 2**22, "words", "a box around an image of 224 x 224 x 3 takes 2.1 million"
)
PROPERTY_DEPTH: Final = SizeLimit(
    "PROPERTY_DEPTH", 100, "levels", "usual properties have 5; Python itself stops at 1,000"
)
PROPERTY_ATOMS: Final = SizeLimit(
    "PROPERTY_ATOMS", 2**22, "comparisons", "in all clauses together, each of which is a box and its rows"
)
PROPERTY_DIGITS: Final = SizeLimit(
    "PROPERTY_DIGITS",
    1_000,
    "digits",
    "exact numbers take as many as their exponents say; float64 ends at 324",
)
MODEL_BYTES: Final = SizeLimit(
    "MODEL_BYTES", 16 * _GIB, "bytes", "of a model with its data; protobuf itself ends at 2 GiB for one file"
)
MODEL_MESSAGES: Final = SizeLimit(
    "MODEL_MESSAGES", 2**20, "messages", "nodes, attributes, tensors, shapes: 20,000 nodes have some 300,000"
)
WEIGHTS_BYTES: Final = SizeLimit("WEIGHTS_BYTES", 32 * _GIB, "bytes", "of a file of weights or a checkpoint")
EVIDENCE_BYTES: Final = SizeLimit(
    "EVIDENCE_BYTES", 8 * _GIB, "bytes", "two float32 images for each that was broken: 6,000 of 224 x 224 x 3"
)
JOURNAL_BYTES: Final = SizeLimit("JOURNAL_BYTES", _GIB, "bytes", "a few bytes for each image and radius")
TENSOR_BYTES: Final = SizeLimit(
    "TENSOR_BYTES", _GIB, "bytes", "of one tensor for one image; the largest of ViT-B is 3 MB"
)
GRAPH_BYTES: Final = SizeLimit(
    "GRAPH_BYTES", 4 * _GIB, "bytes", "of all tensors for one image, kept for its gradient; ViT-B has 0.4 GB"
)
PROCESS_BYTES: Final = SizeLimit(
    "PROCESS_BYTES",
    3 * 2**29,
    "bytes",
    "of a limited process, beyond 8 times the model and 16 times a batch; ViT-B at one image takes 0.4 GB",
)
RUNTIME_BYTES: Final = SizeLimit(
    "RUNTIME_BYTES",
    8 * _GIB,
    "bytes",
    "of onnxruntime's tensors in one command; ViT-B on 128 images: 2 GB",
)
READING_SECONDS: Final = SizeLimit(
    "READING_SECONDS", 300, "seconds", "to read a graph as operations; one of 6,000 nodes takes some 10"
)
TRIAL_SECONDS: Final = SizeLimit(
    "TRIAL_SECONDS", 60, "seconds", "to load a model and answer one image, for each 256 MiB of it"
)

LIMITS: Final = (
    CONFIG_BYTES,
    CONFIG_DEPTH,
    JSON_BYTES,
    JSON_DEPTH,
    JSON_VALUES,
    JSON_DIGITS,
    PROPERTY_BYTES,
    PROPERTY_WORDS,
    PROPERTY_DEPTH,
    PROPERTY_ATOMS,
    PROPERTY_DIGITS,
    MODEL_BYTES,
    MODEL_MESSAGES,
    WEIGHTS_BYTES,
    EVIDENCE_BYTES,
    JOURNAL_BYTES,
    TENSOR_BYTES,
    GRAPH_BYTES,
    PROCESS_BYTES,
    RUNTIME_BYTES,
    READING_SECONDS,
    TRIAL_SECONDS,
)
