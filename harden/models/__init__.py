"""Networks as functions from pixels in [0, 1] to logits and features; copies; the count of passes."""

from harden.models.classifier import Classifier
from harden.models.fast_copy import FastCopy, PreparedNetwork, bfloat16_is_native, prepare
from harden.models.numpy_classifier import from_numpy
from harden.models.pass_count import PassMeter, counting
from harden.models.preserving.copies import copied, float32_copy, names_a_type, ordinary
from harden.models.preserving.frozen import frozen, given_back, untouched
from harden.models.preserving.torch_defaults import plain

__all__ = [
    "Classifier",
    "FastCopy",
    "PassMeter",
    "PreparedNetwork",
    "bfloat16_is_native",
    "copied",
    "counting",
    "float32_copy",
    "from_numpy",
    "frozen",
    "given_back",
    "names_a_type",
    "ordinary",
    "plain",
    "prepare",
    "untouched",
]
