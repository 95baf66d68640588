"""The inputs of a run as a few lines and as JSON."""

from __future__ import annotations

from typing import Any

import torch

from harden.artefact.parity.trial_export import Exportability
from harden.cli.options.run_options import RunOptions
from harden.cli.output.console import say
from harden.data import Examples
from harden.description import describe
from harden.hardening.run_inputs import RunInputs

_NAMED_CLASSES = 10
"""Up to so many classes are listed by name."""


def print_inputs(options: RunOptions, inputs: RunInputs) -> None:
    """Print data, model, threat, recipe and budget."""
    train, test = inputs.splits.train, inputs.test
    lines = [("data", f"{inputs.splits.name}: {len(train)} to train on, {len(test)} to test on")]
    if inputs.splits.remarks:
        lines.append(("", "; ".join(inputs.splits.remarks)))
    lines.append(("", f"{balance(train)}; images of {'x'.join(map(str, train.image_shape))}"))
    if inputs.dropped:
        lines.append(("", f"{inputs.dropped} training images left out: they are test images too"))
    if train.groups is not None:
        groups, share = len(set(train.groups.tolist())), inputs.held_out / len(train)
        held = f"{inputs.held_out} images ({100 * share:.3g} %) held out for validation"
        lines.append(("", f"{groups} groups of training images, none split: {held}"))
    if inputs.unlabelled is not None:
        lines.append(("", f"{len(inputs.unlabelled)} images of {inputs.unlabelled.name} for pretraining"))
    lines.append(("model", f"{options.model}: {inputs.model.describe()}"))
    recipe = f"recipe {options.training.pretrain} + {options.training.finetune}"
    lines.append(("threat", f"{inputs.settings.threat}   {recipe}   budget {inputs.settings.budget}"))
    precision = "bfloat16 where the network can" if inputs.recipe.bfloat16 else "float32"
    lines.append(("", f"{inputs.recipe.optimiser}, {inputs.recipe.schedule}, {precision}"))
    weights = getattr(inputs.recipe.finetune, "class_weights", ())
    if weights:
        lines.append(("", f"class weights {', '.join(f'{weight:.3g}' for weight in weights)}"))
    for name, text in lines:
        say(f"{name:10}{text}")


def print_trial_export(found: Exportability, *, proofs: bool) -> None:
    """Print the result of the export before training."""
    parity, bounded = found.parity, "; every operation has a rule for bounds" if proofs else ""
    say(
        f"export    tried before training, in {found.seconds:.1f} s: logits within {parity.max_error:.1e} "
        f"of the network's, {parity.tolerance:.1e} allowed{bounded}",
    )


def balance(examples: Examples) -> str:
    """The number of images of each class, in words."""
    counts = torch.bincount(examples.y.cpu(), minlength=len(examples.classes)).tolist()
    if len(counts) > _NAMED_CLASSES:
        return f"{len(counts)} classes of {min(counts)} to {max(counts)} training images"
    named = ", ".join(f"{name} {count}" for name, count in zip(examples.classes, counts, strict=True))
    return f"{len(counts)} classes: {named}"


def inputs_as_json(options: RunOptions, inputs: RunInputs) -> dict[str, Any]:
    """The inputs as JSON."""
    train, threat = inputs.splits.train, inputs.settings.threat
    counts = torch.bincount(train.y.cpu(), minlength=len(train.classes)).tolist()
    return {
        "data": {
            "name": inputs.splits.name,
            "train": len(train),
            "test": len(inputs.test),
            "dropped": inputs.dropped,
            "read": list(inputs.splits.remarks),
            "groups": None if train.groups is None else len(set(train.groups.tolist())),
            "unlabelled": None if inputs.unlabelled is None else len(inputs.unlabelled),
            "classes": dict(zip(train.classes, counts, strict=True)),
        },
        "model": {"spec": options.model, "found": inputs.model.describe()},
        "threat": {"norm": threat.name, "eps": str(threat.eps), "bounds": threat.bounds},
        "recipe": {
            "pretrain": options.training.pretrain,
            "finetune": options.training.finetune,
            "described": describe(inputs.recipe),
        },
        "budget": str(inputs.settings.budget),
        "batch_size": inputs.batch_size,
    }
