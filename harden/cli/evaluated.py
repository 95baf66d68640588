"""What `harden evaluate` prints."""

from __future__ import annotations

from rich.table import Table

from harden.cli.console import console
from harden.evaluation import Evaluation

_LEAST = 10


def show(found: Evaluation, title: str, classes: tuple[str, ...]) -> None:
    """Print an evaluation: a table of the attempts, the headline where there is one, what fired."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "accuracy", "broken", "seconds"):
        table.add_column(name, justify="right" if name in ("broken", "seconds") else "left")
    table.add_row("clean", str(found.clean), "", "")
    for record in found.attempts:
        table.add_row(
            f"and under {record.name}", str(record.robust), str(record.broken), f"{record.seconds:.1f}"
        )
    console.print(table)
    if not found.complete:
        n = len(found.labels)
        console.print(
            f"time was up: all numbers are of the first {n:,} of {n + found.left:,} images", soft_wrap=True
        )
    if found.output != "logits":
        console.print(f"the model returns {found.output}: attacks climb their logarithms", soft_wrap=True)
    for record in found.attempts:
        if note := record.spec.get("note"):
            console.print(f"{record.name}: {note}", soft_wrap=True)
    if found.status == "ok":
        console.print(f"robust accuracy at most {found.robust}", soft_wrap=True)
        label, clean, robust = found.worst_class
        console.print(f"worst class {classes[label]}: clean {clean}, robust at most {robust}", soft_wrap=True)
    for check in found.checks:
        if not check.passed:
            console.print(f"unreliable: {check.meaning}: {check.value:.3g}; {check.action}", soft_wrap=True)


def at_chance(found: Evaluation) -> str:
    """A line where a file's clean accuracy can't be told from that of guessing; "" where it can.

    Guessing is what the largest class gets. Of fewer than ten images nothing is said.
    """
    n = len(found.labels)
    if n < _LEAST or found.clean.interval[0] > int(found.labels.bincount().max()) / n:
        return ""
    return (
        f"clean accuracy {found.clean} can't be told from guessing, so robustness says nothing; "
        "where the file expects normalised images, give --mean and --std"
    )


def show_curve(found: tuple[Evaluation, ...], title: str) -> None:
    """Print robust accuracy at several eps."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("eps", "robust accuracy, at most", ""):
        table.add_column(name)
    table.add_row("0", str(found[0].clean), "clean")
    for one in found:
        said = str(one.robust) if one.status == "ok" else "unreliable"
        table.add_row(str(one.threat.eps), said, "")
    console.print(table)
