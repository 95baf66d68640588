"""Data of a command that uses the test part alone."""

from __future__ import annotations

from pathlib import Path

from harden.certificate.certificate_file import CERTIFICATE_FILE, read
from harden.cli.output.console import say
from harden.data import Splits, load
from harden.data.align_labels import with_classes
from harden.errors import HardenError


def for_evaluation(data: str, model: str) -> Splits:
    """Load data of which a test part is enough, number its classes as the model's, and say what was read.

    Args:
        data: a spec.
        model: what the command line names; a folder with a certificate has names for its classes.

    Raises:
        InputError: the data can't be read, or are of other classes.
    """
    splits = load(data, needs_train=False)
    names = _certified_classes(Path(model))
    splits = splits if names is None else with_classes(splits, names)
    say(read_line(splits))
    return splits


def _certified_classes(folder: Path) -> tuple[str, ...] | None:
    """The names in a folder's certificate; None where there is none that can be read."""
    if not (folder / CERTIFICATE_FILE).is_file():
        return None
    try:
        return read(folder).predicate.data.classes
    except HardenError:
        return None  # what is wrong with it is reported where the certificate itself is needed


def read_line(splits: Splits) -> str:
    """Say in one line what was read."""
    said = "; ".join((f"{splits.name}: {len(splits.test):,} test images", *splits.remarks))
    return f"{'data':10}{said}"
