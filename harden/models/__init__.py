"""A user's network as harden sees it: pixels in [0, 1] go in, logits and features come out."""

from harden.models.classifier import Classifier
from harden.models.frozen import frozen
from harden.models.passes import PassMeter, counting

__all__ = ["Classifier", "PassMeter", "counting", "frozen"]
