"""Tables of `harden evaluate`."""

from __future__ import annotations

from harden.cli.output.console import print_warning, say, say_table
from harden.evaluation import Evaluation


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
        say(f"the model returns {found.output}: attacks use their logarithms")
    if found.unanswered:
        say(
            f"{found.unanswered:,} of {len(found.labels):,} images have a logit that is NaN or infinite: "
            "each counts as answered wrong; mask a class with -1e4, check for divisions and logarithms of 0"
        )
    for record in found.attempts:
        if note := record.spec.get("note"):
            say(f"{record.name}: {note}")
    if caution := found.caution(classes):
        print_warning(caution)
    if trusted:
        say(f"robust accuracy at most {found.robust}")
        label, clean, robust = found.worst_class
        say(f"worst class {classes[label]}: clean {clean}, robust at most {robust}")


def show_curve(found: tuple[Evaluation, ...], title: str) -> None:
    """Print robust accuracy at several eps."""
    rows = [("0", str(found[0].clean), "clean")]
    for one in found:
        said = str(one.robust) if one.status == "ok" else "unreliable"
        rows.append((str(one.threat.eps), said, ""))
    say_table(("eps", "robust accuracy, at most", ""), rows, title=title)
