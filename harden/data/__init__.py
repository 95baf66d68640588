"""Images and labels: formats, sources of batches, checks and splits."""

from harden.data.batch import Batch
from harden.data.class_weights import balanced_weights
from harden.data.examples import Examples, check_trainable
from harden.data.formats.spec import load
from harden.data.sources.data_fingerprint import identity
from harden.data.sources.loader_adapter import from_loader
from harden.data.sources.source import Source
from harden.data.sources.unlabelled import unlabelled
from harden.data.splits.leakage import Leak, Leaks, leaks, without
from harden.data.splits.split import Splits, sample, split

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
