"""harden demo: the whole job on real images, in about three minutes."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from harden.artefact.artefact_folder import check_folder
from harden.attacks import PGD
from harden.bounds import Method
from harden.cli.output.certificate_table import RerunOptions, as_json, exit_code, print_artefact
from harden.cli.output.console import ProgressDisplay, print_costs, print_kernels, say, write_json
from harden.data import from_loader, load
from harden.evaluation.proofs.prove import RadiusSearch
from harden.hardening import Recipe, harden
from harden.hardening.model_spec import ModelSpec
from harden.hardening.output_folder import check_replaceable, output_folder
from harden.objectives import TRADES, SimCLR, Standard
from harden.threats import Linf
from harden.training import AdamW, Cosine
from harden.views import DIGITS

# Plain training has no use for robust accuracy: its last weights are what one would have deployed.
PLAIN = Recipe(finetune=Standard(), optimiser=AdamW(3e-3), schedule=Cosine(), bfloat16=False, validations=0)
CONTRASTIVE = Recipe(
    pretrain=SimCLR(views=DIGITS),
    pretrain_share=0.1,
    finetune=TRADES(beta=4.0, attack=PGD(steps=10, step_size=0.25, keep_best=False)),
    optimiser=AdamW(5e-3),
    pretrain_optimiser=AdamW(3e-3),
    schedule=Cosine(),
    bfloat16=False,
    ramp=0.3,
    validations=10,
    validation_share=1.0,
)
# A quarter of eps: there nearly all images are proved, and at eps itself linear bounds prove none.
PROOF = RadiusSearch(Method(climb=None), steps=2, levels=(1,))
PLAIN_BUDGET, BUDGET = "20epochs", "250E"


def demo(out: Path, seed: int, json_file: Path | None, *, force: bool = False) -> int:
    """Train plainly, harden, export, attack the file, certify; print both side by side."""
    started = time.perf_counter()
    # So small a network runs slower on several threads, and its bytes should not depend on the machine.
    torch.set_num_threads(1)
    splits, spec, threat = load("digits"), ModelSpec("small"), Linf("1/10")
    check_folder(out)
    check_replaceable(out, force)
    source = from_loader(splits.train, 64)
    images = round(len(splits.train) * (1 - CONTRASTIVE.held_out))
    model = spec.build(splits, seed)
    say(f"scikit-learn's digits: {len(splits.train)} images to train on, {len(splits.test)} to test on")
    say(f"threat {threat}: each pixel may change by a tenth of its range")
    print_kernels(torch.device("cpu"))
    say()
    with output_folder(out) as target, ProgressDisplay(images) as watch:
        say("the same network trained plainly, to compare with")
        plain = harden(
            model, source, threat=threat, recipe=PLAIN, budget=PLAIN_BUDGET, seed=seed, on_step=watch.step
        )
        say("hardened: SimCLR, then TRADES")
        hardened = harden(
            model, source, threat=threat, recipe=CONTRASTIVE, budget=BUDGET, seed=seed, on_step=watch.step
        )
        artefact = hardened.export(
            target,
            splits.test,
            compare={"trained plainly": plain.model},
            split="test",
            notes=spec.notes(),
            search=PROOF,
            on_phase=watch.phase,
        )
    say()
    costs = [stage.model_copy(update={"name": "plain training"}) for stage in plain.origin.stages]
    print_costs((*costs, *artefact.certificate.predicate.provenance.stages))
    say()
    rerun = RerunOptions("digits")
    print_artefact(artefact, rerun)
    say()
    say(f"{time.perf_counter() - started:.0f} s in all")
    write_json(json_file, as_json(artefact, rerun))
    return exit_code(artefact)
