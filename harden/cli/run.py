"""harden run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from harden.artefact.folder import prepare_folder
from harden.cli.console import Watch, console, print_costs, print_kernels, write_json
from harden.cli.devices import check_device
from harden.cli.outcome import as_json, exit_code, print_artefact
from harden.cli.recipes import recipe
from harden.cli.sampling import evaluated_images
from harden.cli.specs import ModelSpec
from harden.data import from_loader, load
from harden.evaluation import pgd_suite
from harden.hardening import harden
from harden.models import Classifier
from harden.threats import from_name
from harden.training import Budget


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """How to harden, as the options say it."""

    pretrain: str
    finetune: str
    beta: float
    budget: str
    lr: float
    steps: int
    restarts: int
    test_images: int
    batch_size: int
    seed: int
    device: str


def run(
    spec: ModelSpec,
    data: str,
    norm_and_eps: tuple[str, str],
    choice: Choice,
    out: Path,
    json_file: Path | None,
) -> int:
    """Harden, export, certify; wrong options are refused before anything is loaded or written."""
    threat, budget = from_name(*norm_and_eps), Budget.parse(choice.budget)
    attempts = pgd_suite(choice.steps, choice.restarts)
    recipe(choice.pretrain, choice.finetune, 1, beta=choice.beta, lr=choice.lr)
    device = check_device(choice.device)
    splits = load(data)
    made = recipe(
        choice.pretrain, choice.finetune, splits.train.image_shape[0], beta=choice.beta, lr=choice.lr
    )
    test = evaluated_images(splits, choice.test_images)
    model = spec.build(splits, choice.seed)
    target = prepare_folder(out)
    console.print(f"data      {splits.name}: {len(splits.train)} to train on, {len(test)} to test on")
    console.print(f"model     {spec.spec}, features before its layer {model.head_name!r}")
    console.print(f"threat    {threat}   recipe {choice.pretrain} + {choice.finetune}   budget {budget}")
    print_kernels(device)
    with Watch() as watch:
        hardened = harden(
            model,
            from_loader(splits.train, choice.batch_size),
            threat=threat,
            recipe=made,
            budget=budget,
            seed=choice.seed,
            device=device,
            on_step=watch.step,
        )
        # A network with fresh weights is at chance: there is nothing to compare with.
        compare: dict[str, Classifier] | None = None if spec.weights else {}
        artefact = hardened.export(
            target, test, attempts=attempts, compare=compare, split="test", on_phase=watch.phase
        )
    spec.remember(target)
    print_costs(artefact.certificate.predicate.provenance.stages)
    print_artefact(artefact)
    write_json(json_file, as_json(artefact))
    return exit_code(artefact)
