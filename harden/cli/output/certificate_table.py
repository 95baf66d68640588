"""A certificate's main numbers as a table and as JSON."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, final

from harden.artefact.artefact import Artefact
from harden.artefact.measure_file import TIME_WAS_UP
from harden.certificate.chance_level import caution_of
from harden.certificate.schema import ClassRecord, ProportionRecord
from harden.certificate.unreliable_reasons import NextCommand, reasons
from harden.cli.output import unreliable_exit
from harden.cli.output.console import print_warning, say, say_table
from harden.evaluation.suite_lookup import DEFAULT_SUITE, SuiteChoice
from harden.statistics import Proportion as Measured


@final
@dataclass(frozen=True, slots=True)
class RerunOptions:
    """Options of the evaluation that a certificate holds, for the command that repeats it.

    Attributes:
        data: the spec of the data.
        suite: of the attacks.
        test_images: the number of test images; 0 for all.
    """

    data: str
    suite: SuiteChoice = DEFAULT_SUITE
    test_images: int = 0


def next_step(artefact: Artefact, rerun: RerunOptions) -> NextCommand | None:
    """The command to run next where a trust check fired: `harden evaluate` on the folder."""
    predicate = artefact.certificate.predicate
    threat = predicate.threat
    words = unreliable_exit.evaluate_words([str(artefact.folder)], rerun.data, threat.norm, threat.eps)
    words += ["--test-images", str(rerun.test_images)] if rerun.test_images else []
    suite = rerun.suite
    return unreliable_exit.step_after(words, predicate.checks, suite.attacks, suite.steps, suite.restarts)


def print_artefact(artefact: Artefact, rerun: RerunOptions) -> None:
    """Print accuracies before and after with n and intervals, the trust checks that fired, and the files."""
    predicate = artefact.certificate.predicate
    threat = predicate.threat
    rows = []
    if predicate.comparison is not None:
        other = predicate.comparison
        compared = _cell(other.robust) if other.status == "ok" else "unreliable"
        rows.append((other.name, _cell(other.clean), compared, "not tried"))
    proved = "not tried" if predicate.bracket.method is None else _cell(predicate.bracket.certified)
    robust = _cell(predicate.bracket.robust) if predicate.status == "ok" else "unreliable"
    rows.append(("exported file", _cell(predicate.clean), robust, proved))
    title = f"Accuracy on {predicate.data.n} test images, {threat.norm} eps {threat.eps}, 95 % intervals"
    say_table(("", "clean", "robust, at most", "certified, at least"), rows, title=title)
    if caution := caution_of(predicate):
        print_warning(caution)
    say("at most: images that no attack broke; at least: images that were proved robust")
    if predicate.data.split.endswith(TIME_WAS_UP):
        say(f"all numbers are of {predicate.data.split}")
    for point in () if predicate.proof is None else predicate.proof.points:
        share = _whole(point.certified)
        say(f"proved for every change up to {point.eps}: {share}")
    worst = _worst_class(artefact)
    if worst is not None:
        say(f"worst class {worst.label}: clean {_whole(worst.clean)}, robust at most {_whole(worst.robust)}")
    unreliable_exit.say_why(predicate.checks, next_step(artefact, rerun))
    say()
    say(f"files in {artefact.folder}/")
    for name, content in _FILES.items():
        if (artefact.folder / name).exists():
            say(f"  {name:18} {content}")
    say(f"check them again with: harden verify {shlex.quote(str(artefact.folder))}")


def exit_code(artefact: Artefact) -> int:
    """0, or 1 where a trust check says that the attack number can't be believed."""
    return unreliable_exit.exit_code(artefact.certificate.predicate.status)


def as_json(artefact: Artefact, rerun: RerunOptions) -> dict[str, Any]:
    """The main numbers of a certificate; where they are not trusted, the reasons and the next command."""
    predicate = artefact.certificate.predicate
    other, step = predicate.comparison, next_step(artefact, rerun)
    return {
        "status": predicate.status,
        "reasons": list(reasons(predicate.checks)),
        "next": None if step is None else step.command,
        "warnings": [caution] if (caution := caution_of(predicate)) else [],
        "n": predicate.data.n,
        "split": predicate.data.split,
        "threat": predicate.threat.model_dump(mode="json"),
        "clean": predicate.clean.model_dump(mode="json"),
        "robust": predicate.bracket.robust.model_dump(mode="json") if predicate.status == "ok" else None,
        "certified": predicate.bracket.certified.model_dump(mode="json"),
        "proof": predicate.proof.model_dump(mode="json") if predicate.proof else None,
        "worst_class": worst.model_dump(mode="json") if (worst := _worst_class(artefact)) else None,
        "before": other.model_dump(mode="json") if other else None,
        "stages": [stage.model_dump(mode="json") for stage in predicate.provenance.stages],
        "seconds": predicate.provenance.seconds,
        "folder": str(artefact.folder),
    }


_FILES = {
    "model.onnx": "pixels in [0, 1] to logits, normalisation inside",
    "certificate.json": "the measurements on that file",
    "evidence.npz": "the adversarial examples, to be replayed",
    "report.html": "the certificate as a page",
    "history.jsonl": "the steps of training",
    "checkpoint": "the weights for torch",
}


def _worst_class(artefact: Artefact) -> ClassRecord | None:
    """The class of the lowest robust accuracy; none where that number can't be believed."""
    predicate = artefact.certificate.predicate
    if predicate.status != "ok" or not predicate.classes:
        return None
    return min(predicate.classes, key=lambda each: each.robust.value)


def _whole(share: ProportionRecord) -> str:
    return str(Measured(share.count, share.n, share.confidence))


def _cell(share: ProportionRecord) -> str:
    # The same words as everywhere, less the n that the title has; intervals are rounded outwards.
    return str(Measured(share.count, share.n, share.confidence)).partition(" (n =")[0]
