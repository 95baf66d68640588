"""What `harden evaluate` prints."""

from __future__ import annotations

from harden.cli.console import say, say_table
from harden.evaluation import Evaluation

_LEAST = 10


def show(found: Evaluation, title: str, classes: tuple[str, ...], *, trusted: bool) -> None:
    """Print an evaluation: a table of the attempts, and where it is trusted the headline."""
    rows = [("clean", str(found.clean), "", "")]
    for record in found.attempts:
        costs = (str(record.broken), f"{record.seconds:.1f}")
        rows.append((f"and under {record.name}", str(record.robust), *costs))
    say_table(("", "accuracy", "broken", "seconds"), rows, title=title, right_from=2)
    if not found.complete:
        n = len(found.labels)
        say(f"time was up: all numbers are of the first {n:,} of {n + found.left:,} images")
    if found.output != "logits":
        say(f"the model returns {found.output}: attacks climb their logarithms")
    for record in found.attempts:
        if note := record.spec.get("note"):
            say(f"{record.name}: {note}")
    if trusted:
        say(f"robust accuracy at most {found.robust}")
        label, clean, robust = found.worst_class
        say(f"worst class {classes[label]}: clean {clean}, robust at most {robust}")


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
    rows = [("0", str(found[0].clean), "clean")]
    for one in found:
        said = str(one.robust) if one.status == "ok" else "unreliable"
        rows.append((str(one.threat.eps), said, ""))
    say_table(("eps", "robust accuracy, at most", ""), rows, title=title)
