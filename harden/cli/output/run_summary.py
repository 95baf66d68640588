"""What a run starts from, in a few lines and as JSON."""

from __future__ import annotations

from typing import Any

import torch

from harden.cli.loading.prepare_run import Ready
from harden.cli.options.run_options import Choice
from harden.cli.output.console import say
from harden.data import Examples

_CLASSES = 10  # named one by one up to here


def print_inputs(choice: Choice, ready: Ready) -> None:
    """Print data, model, threat, recipe and budget."""
    train, test = ready.splits.train, ready.test
    lines = [("data", f"{ready.splits.name}: {len(train)} to train on, {len(test)} to test on")]
    if ready.splits.remarks:
        lines.append(("", "; ".join(ready.splits.remarks)))
    lines.append(("", f"{balance(train)}; images of {'x'.join(map(str, train.image_shape))}"))
    if ready.dropped:
        lines.append(("", f"{ready.dropped} training images left out: they are test images too"))
    if train.groups is not None:
        groups, share = len(set(train.groups.tolist())), ready.held_out / len(train)
        held = f"{ready.held_out} images ({100 * share:.3g} %) held out for validation"
        lines.append(("", f"{groups} groups of training images, never parted: {held}"))
    if ready.unlabelled is not None:
        lines.append(("", f"{len(ready.unlabelled)} images of {ready.unlabelled.name} for pretraining"))
    lines.append(("model", f"{choice.model}: {ready.model.describe()}"))
    recipe = f"recipe {choice.pretrain} + {choice.finetune}"
    lines.append(("threat", f"{ready.options.threat}   {recipe}   budget {ready.options.budget}"))
    weights = getattr(ready.recipe.finetune, "class_weights", ())
    if weights:
        lines.append(("", f"class weights {', '.join(f'{weight:.3g}' for weight in weights)}"))
    for name, text in lines:
        say(f"{name:10}{text}")


def balance(examples: Examples) -> str:
    """How many images each class has."""
    counts = torch.bincount(examples.y.cpu(), minlength=len(examples.classes)).tolist()
    if len(counts) > _CLASSES:
        return f"{len(counts)} classes of {min(counts)} to {max(counts)} training images"
    named = ", ".join(f"{name} {count}" for name, count in zip(examples.classes, counts, strict=True))
    return f"{len(counts)} classes: {named}"


def inputs_as_json(choice: Choice, ready: Ready) -> dict[str, Any]:
    """The same as JSON."""
    train, threat = ready.splits.train, ready.options.threat
    counts = torch.bincount(train.y.cpu(), minlength=len(train.classes)).tolist()
    return {
        "data": {
            "name": ready.splits.name,
            "train": len(train),
            "test": len(ready.test),
            "dropped": ready.dropped,
            "read": list(ready.splits.remarks),
            "groups": None if train.groups is None else len(set(train.groups.tolist())),
            "unlabelled": None if ready.unlabelled is None else len(ready.unlabelled),
            "classes": dict(zip(train.classes, counts, strict=True)),
        },
        "model": {"spec": choice.model, "found": ready.model.describe()},
        "threat": {"norm": threat.name, "eps": str(threat.eps), "bounds": threat.bounds},
        "recipe": {"pretrain": choice.pretrain, "finetune": choice.finetune},
        "budget": str(ready.options.budget),
        "batch_size": ready.batch_size,
    }
