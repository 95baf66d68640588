"""harden evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from rich.table import Table

from harden.artefact.folder import CHECKPOINT_FOLDER
from harden.artefact.gated import first_images, judge_of
from harden.artefact.loaded import Artefact
from harden.artefact.parity import check_parity
from harden.artefact.session import Session
from harden.cli.beyond import Beyond, Subject, as_decided, measured, show
from harden.cli.beyond import share_as_json as _share
from harden.cli.console import Watch, console, write_json
from harden.cli.sampling import evaluated_images
from harden.cli.specs import ModelSpec
from harden.data import Source, from_loader, load
from harden.errors import ExportError, InputError
from harden.evaluation import Attempt, Evaluation, Phase, pgd_suite
from harden.evaluation import evaluate as measure
from harden.losses import Classify
from harden.models import Classifier, FastCopy
from harden.models.devices import check_device
from harden.threats import from_name
from harden.training.fit import check_fit
from harden.training.fitting import ran_out_of_memory


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, as the options say it."""

    norm: str
    eps: str
    steps: int
    restarts: int
    bfloat16: bool
    test_images: int
    batch_size: int
    seed: int
    device: str

    def attempts(self) -> tuple[Attempt, ...]:
        """The attacks."""
        return pgd_suite(self.steps, self.restarts, FastCopy(bfloat16=self.bfloat16).precision)


def evaluate(
    spec: ModelSpec, data: str, plan: Plan, json_file: Path | None, beyond: Beyond | None = None
) -> int:
    """Measure a model on the test images; 1 where the number can't be trusted."""
    check_spec(spec)
    beyond = beyond or Beyond()
    threat, attempts = from_name(plan.norm, plan.eps), plan.attempts()
    device = check_device(plan.device)
    splits = load(data)
    beyond.check(splits.test.classes)
    model = spec.build(splits, plan.seed).to(device)
    check_fit(model, from_loader(splits.train, plan.batch_size))
    judge: Classify = model.logits
    by = "torch"
    source = from_loader(splits.test, plan.batch_size)
    if spec.folder is not None:
        session = Artefact(spec.folder).session
        _check_twin(spec.folder, model, session, source)
        judge, by = judge_of(session), f"{spec.folder}/model.onnx in onnxruntime"
    images = from_loader(evaluated_images(splits, plan.test_images), plan.batch_size)
    decided, deciding = as_decided(beyond, model, judge)
    with _fitting(plan.batch_size), Watch() as watch:
        found = measure(
            decided,
            images,
            threat,
            attempts,
            judge=deciding,
            seed=plan.seed,
            on_batch=lambda at: watch.phase(Phase.of("attack", at)),
        )
        more = measured(beyond, Subject(judge, deciding, images, plan.seed), found, watch)
    _show(found, f"{splits.name} test, {threat}, decided by {by}", splits.test.classes)
    show(more, splits.test.classes)
    write_json(json_file, {**as_json(found, by, splits.test.classes), **more.as_json()})
    return 0 if found.status == "ok" else 1


@contextmanager
def _fitting(batch_size: int) -> Iterator[None]:
    """Say that batches are too large where memory runs out.

    Raises:
        InputError: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise InputError(
            f"batches of {batch_size} images, which do not fit into memory",
            "a batch that fits",
            f"write --batch-size {max(batch_size // 2, 1)}",
        ) from None


def check_spec(spec: ModelSpec) -> None:
    """Say that a folder is missing where a path was written, before anything is loaded.

    Raises:
        InputError: it is.
    """
    path = Path(spec.spec)
    if ":" not in spec.spec and len(path.parts) > 1 and not path.exists():
        raise InputError(
            f"model {spec.spec!r}, where no folder is",
            "a run's folder, or small, torchvision:NAME or module:function",
            "name the --out of a `harden run`",
        )


def _check_twin(folder: Path, model: Classifier, session: Session, source: Source) -> None:
    """Refuse gradients of one network with verdicts of another: the number would flatter."""
    try:
        check_parity(model, session, first_images(source)[0])
    except ExportError as error:
        seen = f"{folder}/{CHECKPOINT_FOLDER} is not the network of {folder}/model.onnx ({error.seen})"
        raise InputError(
            seen, "the weights that the file was exported from", "run or export again"
        ) from error


def as_json(found: Evaluation, by: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """An evaluation as JSON."""
    return {
        "status": found.status,
        "threat": {"norm": found.threat.name, "eps": str(found.threat.eps), "bounds": found.threat.bounds},
        "clean": _share(found.clean),
        "robust": _share(found.robust) if found.status == "ok" else None,
        "per_attack": {
            record.name: {
                "attempted": record.attempted,
                "broken": record.broken,
                "robust": _share(record.robust),
                "passes": record.passes,
                "seconds": record.seconds,
                "spec": record.spec,
            }
            for record in found.attempts
        },
        "per_class": {
            str(label): {"clean": _share(clean), "robust": _share(robust)}
            for label, (clean, robust) in found.per_class().items()
        },
        "worst_class": _worst_class(found, classes),
        "checks": {
            check.name: {
                "value": check.value,
                "threshold": check.threshold,
                "passed": check.passed,
                "meaning": check.meaning,
                "action": check.action,
            }
            for check in found.checks
        },
        "decided_by": by,
        "passes": found.passes,
        "seconds": found.seconds,
    }


def _worst_class(found: Evaluation, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if found.status != "ok":
        return None
    label, clean, robust = found.worst_class
    return {"label": label, "name": classes[label], "clean": _share(clean), "robust": _share(robust)}


def _show(found: Evaluation, title: str, classes: tuple[str, ...]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "accuracy", "broken", "seconds"):
        table.add_column(name, justify="right" if name in ("broken", "seconds") else "left")
    table.add_row("clean", str(found.clean), "", "")
    for record in found.attempts:
        table.add_row(
            f"and under {record.name}", str(record.robust), str(record.broken), f"{record.seconds:.1f}"
        )
    console.print(table)
    if found.status == "ok":
        console.print(f"robust accuracy at most {found.robust}", soft_wrap=True)
        label, clean, robust = found.worst_class
        console.print(f"worst class {classes[label]}: clean {clean}, robust at most {robust}", soft_wrap=True)
    for check in found.checks:
        if not check.passed:
            console.print(f"unreliable: {check.meaning}: {check.value:.3g}; {check.action}", soft_wrap=True)
