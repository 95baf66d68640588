"""The data of a command that looks at the test part alone."""

from __future__ import annotations

from pathlib import Path

from harden.artefact.loaded import Artefact
from harden.cli.console import say
from harden.data import Splits, load
from harden.data.class_lists import with_classes

_CERTIFICATE = "certificate.json"


def for_evaluation(data: str, model: str) -> Splits:
    """Load data of which a test part is enough, number its classes as the model's, and say what was read.

    Args:
        data: a spec.
        model: what the command line names; a folder with a certificate has names for its classes.

    Raises:
        InputError: the data can't be read, or are of other classes.
    """
    splits = load(data, needs_train=False)
    folder = Path(model)
    if splits.is_test_alone and (folder / _CERTIFICATE).is_file():
        splits = with_classes(splits, Artefact(folder).certificate.predicate.data.classes)
    say(read_line(splits))
    return splits


def read_line(splits: Splits) -> str:
    """Say in one line what was read."""
    said = "; ".join((f"{splits.name}: {len(splits.test):,} test images", *splits.remarks))
    return f"{'data':10}{said}"
