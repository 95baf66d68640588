"""Images and labels: where they come from, how they are checked, split, and cut into batches."""

from harden.data.batch import Batch
from harden.data.examples import Examples, check_trainable
from harden.data.fingerprint import identity
from harden.data.leakage import Leak, Leaks, leaks, without
from harden.data.loaders import from_loader
from harden.data.source import Source
from harden.data.specs import load
from harden.data.splitting import Splits, sample, split
from harden.data.weights import balanced_weights
from harden.data.without_labels import unlabelled

__all__ = [
    "Batch",
    "Examples",
    "Leak",
    "Leaks",
    "Source",
    "Splits",
    "balanced_weights",
    "check_trainable",
    "from_loader",
    "identity",
    "leaks",
    "load",
    "sample",
    "split",
    "unlabelled",
    "without",
]
