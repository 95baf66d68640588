"""Images and labels: where they come from, how they are checked, split, and cut into batches."""

from harden.data.batch import Batch
from harden.data.examples import Examples, check_trainable
from harden.data.loaders import Source, from_loader
from harden.data.specs import load
from harden.data.splitting import Splits, split

__all__ = ["Batch", "Examples", "Source", "Splits", "check_trainable", "from_loader", "load", "split"]
