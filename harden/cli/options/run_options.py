"""The options of `harden run`; an option is added by a field here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, final

import typer

from harden.cli.options import shared_options as opt
from harden.recipe_names import RecipeNames

if TYPE_CHECKING:  # --help loads no torch
    from harden.evaluation.suite_lookup import SuiteChoice


@final
@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `harden run`, as they were typed or read from a file.

    The command's signature is made from the annotated fields and those of `training`
    (`harden.cli.options.signature`).

    Attributes:
        training: the options that choose the recipe.
        origins: the origin of each option's value: flag, file or default.
    """

    data: opt.Data
    out: opt.Out
    model: opt.Model = "small"
    weights: opt.Weights = None
    mean: opt.Mean = ""
    std: opt.Std = ""
    head: opt.Head = ""
    output: opt.Output = ""
    unlabelled: Annotated[
        str,
        typer.Option(help="Data whose training images pretraining sees in place of the labelled ones."),
    ] = ""
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave training images out that are test images too.")
    ] = False
    norm: opt.Norm = "linf"
    eps: opt.Eps = "8/255"
    training: RecipeNames = field(default_factory=RecipeNames)
    budget: Annotated[str, typer.Option(help="10min | 300E (passes per training image) | 3epochs")] = "10min"
    attacks: opt.Attacks = ""
    steps: opt.Steps = None
    restarts: opt.Restarts = None
    bfloat16: opt.Bfloat16 = False
    prove: opt.Prove = "none"
    prove_minutes: opt.ProveMinutes = None
    evaluate_minutes: opt.EvaluateMinutes = None
    test_images: opt.TestImages = 0
    batch_size: opt.Batch = 128
    auto_batch: Annotated[
        bool, typer.Option("--auto-batch", help="Halve the batch until it fits into memory, and say so.")
    ] = False
    seed: opt.Seed = 0
    device: opt.Device = "cpu"
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run whose progress is in --out.")] = (
        False
    )
    force: opt.Force = False
    checkpoint_every: Annotated[
        float,
        typer.Option("--checkpoint-every", help="Seconds between the states that --resume continues from."),
    ] = 30.0
    log: Annotated[
        list[str] | None,
        typer.Option("--log", help="tensorboard:DIR | mlflow:URI; may be given several times."),
    ] = None
    config: opt.Config = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan with passes, seconds and memory; write nothing."),
    ] = False
    json_file: opt.Json = None
    verbose: opt.Verbose = False
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def suite(self) -> SuiteChoice:
        """The suite of attacks that --attacks, --steps and --restarts mean."""
        from harden.evaluation.suite_lookup import chosen

        return chosen(self.attacks, self.steps, self.restarts)
