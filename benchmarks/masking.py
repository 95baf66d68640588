"""Evaluates defences that hide their gradients, and holds each against an attack that knows its construction.

    python benchmarks/masking.py --record                       # the defences, on scikit-learn's digits
    python benchmarks/masking.py --honest --record              # networks that hide nothing
    python benchmarks/masking.py --data npz:mnist.npz --only "one-hot" --images 400
    python benchmarks/masking.py --honest --against CHECKOUT    # cost here, over that of another checkout

Claim: no defence is called `ok` with a robust accuracy more than 3 points above what the adaptive attack
leaves of the same images, and no honest network is called unreliable. A line says FAIL where that is not so,
and the exit code is then 1. A defended network is `after(inside(before(x))) + shortcut`; the adaptive attack
is gradient ascent on what is inside, and the defended network itself judges every point. A network that is
refused, since no gradient leads from its logits to the image, has no headline and passes. Settings that are
on record for the same harden, data, suite and images are not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])


import torch

from benchmarks.masking_defences import costs, honest, networks
from benchmarks.masking_defences.adaptive import Adaptive
from benchmarks.masking_defences.defences import Workshop
from benchmarks.masking_defences.honest import Honest
from benchmarks.masking_defences.networks import Data
from benchmarks.masking_defences.settings import Setting, grid
from benchmarks.peering import provenance
from harden.data import load, sample
from harden.errors import HardenError
from harden.evaluation import evaluate, quick, standard, thorough
from harden.models import Classifier
from harden.statistics import Proportion
from harden.threats import from_name

RECORD = provenance.RESULTS / "masking.jsonl"
SUITES = {"quick": quick, "standard": standard, "thorough": thorough}
POINTS = 3.0
"""How far above the adaptive attack's a number may be."""
STATUSES = ("ok", "unreliable", "refused")
STEPS, TOY_TRAINING, TOY_STEPS = 400, 300, 30


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="digits", help="digits, npz:FILE")
    parser.add_argument("--suite", choices=tuple(SUITES), default="standard")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--training-images", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--every", type=int, default=1, help="one of so many settings")
    parser.add_argument("--first", type=int, default=1000, help="so many of them")
    parser.add_argument("--honest", action="store_true", help="networks that hide nothing instead")
    parser.add_argument(
        "--tree", type=Path, help="a checkout whose harden is used; the installed one otherwise"
    )
    parser.add_argument("--against", type=Path, help="a checkout that the honest ones are evaluated by too")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true", help="add lines to results/masking.jsonl")
    parser.add_argument("--toy", action="store_true", help="few images: does it run at all?")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Measure, print a line for each setting, and a summary; 1 where one fails."""
    given = parsed(words)
    if given.against is not None:
        return _costs(given)
    if given.tree is not None and not costs.is_in(given.tree):
        return costs.called(given.tree, sys.argv[1:] if words is None else words)
    torch.set_num_threads(1)
    data = _data(given)
    measure = Measure(given, data)
    chosen = _chosen(given)
    if given.serve:
        return _served(measure, chosen, sys.stdin)
    lines = []
    for setting in chosen:
        line = measure.known(setting) or measure.line(setting)
        lines.append(line)
        print(said(line), flush=True)
    failed = [line["setting"] for line in lines if line["verdict"] != "pass"]
    print(_summary(lines, given.honest))
    return 1 if failed else 0


def _chosen(given: argparse.Namespace) -> list[Setting | Honest]:
    every: tuple[Setting | Honest, ...] = honest.control(given.seed) if given.honest else grid()
    return [setting for setting in every if given.only in setting.name][:: given.every][: given.first]


def _data(given: argparse.Namespace) -> Data:
    splits = load(given.data)
    sizes = (TOY_TRAINING, 12) if given.toy else (given.training_images, given.images)
    found = []
    for part, size in zip((splits.train, splits.test), sizes, strict=True):
        chosen = sample(part, min(size, len(part)), 0)
        found.append(chosen.batch(torch.arange(len(chosen))))
    train, test = found
    steps = TOY_STEPS if given.toy else STEPS
    return Data(splits.name, train.x, train.y, test.x, test.y, len(splits.train.classes), steps)


class Measure:
    """Builds, evaluates and attacks one setting after the other over one data set."""

    def __init__(self, given: argparse.Namespace, data: Data) -> None:
        self._given, self._data = given, data
        self._workshop = Workshop(data, given.seed)
        self._sources = _sources()
        self._lines = provenance.recorded(RECORD) if given.record else []

    def named(self, setting: Setting | Honest) -> dict[str, Any]:
        """What identifies a line."""
        return {
            "setting": setting.name,
            "data": self._data.name,
            "suite": self._given.suite,
            "images": len(self._data.test_x),
            "training_images": len(self._data.x),
            "seed": self._given.seed,
            "harden": self._sources,
        }

    def known(self, setting: Setting | Honest) -> dict[str, Any] | None:
        """The line on record, if there is one."""
        named = self.named(setting)
        return next((line for line in self._lines if named.items() <= line.items()), None)

    def line(self, setting: Setting | Honest) -> dict[str, Any]:
        """Evaluate, attack, and record."""
        line = self._honest(setting) if isinstance(setting, Honest) else self._defended(setting)
        if self._given.record:
            provenance.append(RECORD, {**provenance.origin(), **line})
        return line

    def warm(self) -> None:
        """Evaluate a few images once: the first call loads and compiles what later ones find there."""
        network, data = networks.convolutional(self._data).eval(), self._data
        attempts = SUITES[self._given.suite]()
        evaluate(Classifier(network), (data.test_x[:4], data.test_y[:4]), from_name("linf", "0.1"), attempts)

    def _honest(self, setting: Honest) -> dict[str, Any]:
        network = honest.trained(setting, self._data)
        eps = honest.eps_of(setting, network, self._data)
        found = self._evaluated(network, setting.norm, eps)
        verdict = "pass" if found["status"] == "ok" else "FAIL"
        return {**self.named(setting), "kind": "honest", "eps": eps, **found, "verdict": verdict}

    def _defended(self, setting: Setting) -> dict[str, Any]:
        built, data = self._workshop.built(setting), self._data
        found = self._evaluated(built.network, setting.norm, setting.eps)
        broken = Adaptive(setting.norm, setting.eps).broken(built, data.test_x, data.test_y, self._given.seed)
        left = Proportion(int((~broken).sum()), len(broken))
        robust = found["robust"]
        difference = None if robust is None else round(100 * (robust - left.value), 2)
        failed = found["status"] == "ok" and difference is not None and difference > POINTS
        # Without a path there is no gradient; any other refusal is of a network that could be evaluated.
        failed |= found["status"] == "refused" and _has_path(built.network, data.test_x[:1])
        return {
            **self.named(setting),
            "kind": "defended",
            "eps": setting.eps,
            **found,
            "adaptive": left.value,
            "adaptive_interval": list(left.interval),
            "difference_in_points": difference,
            "verdict": "FAIL" if failed else "pass",
        }

    def _evaluated(self, network: torch.nn.Module, norm: str, eps: float) -> dict[str, Any]:
        given, data = self._given, self._data
        suite = SUITES[given.suite]()
        threat = from_name(norm, str(eps))
        try:
            found = evaluate(Classifier(network), (data.test_x, data.test_y), threat, suite, seed=given.seed)
        except HardenError as error:
            return {"status": "refused", "reason": str(error), "robust": None}
        return {
            "status": found.status,
            "clean": found.clean.value,
            "robust": found.robust.value,
            "interval": list(found.robust.interval),
            "fired": {check.name: round(check.value, 4) for check in found.checks if not check.passed},
            "broken": {record.name: record.broken for record in found.attempts if record.broken},
            "passes_per_image": round(found.passes / len(found.labels), 1),
            "seconds": round(found.seconds, 2),
        }


def _has_path(network: torch.nn.Module, x: torch.Tensor) -> bool:
    answer: torch.Tensor = network(x.clone().requires_grad_())
    return answer.requires_grad


def said(line: dict[str, Any]) -> str:
    """A line for people."""
    text = f"{line['verdict']}  {line['setting']}: {line['status']}"
    if line["status"] == "refused":
        return f"{text}, {line['reason']}"
    text += f", robust {100 * line['robust']:.1f} % "
    if "adaptive" in line:
        text += f"(adaptive {100 * line['adaptive']:.1f} %, {line['difference_in_points']:+.1f} points) "
    else:
        text += f"at eps {line['eps']:g} "
    fired = ", ".join(line["fired"]) or "no check fired"
    return f"{text}[{fired}] {line['passes_per_image']:.0f} passes, {line['seconds']:.1f} s"


def _summary(lines: list[dict[str, Any]], are_honest: bool) -> str:
    failed = sum(line["verdict"] != "pass" for line in lines)
    if are_honest:
        upper = Proportion(failed, max(1, len(lines))).interval[1]
        return (
            f"{failed} of {len(lines)} honest networks were called unreliable, "
            f"at most {100 * upper:.1f} % of such ones [95 %]"
        )
    counts = ", ".join(f"{sum(line['status'] == each for line in lines)} {each}" for each in STATUSES)
    return (
        f"{failed} of {len(lines)} defences failed: ok with a number more than {POINTS:g} points above the "
        f"adaptive attack's, or refused although a gradient leads to the image ({counts})"
    )


def _served(measure: Measure, chosen: list[Setting | Honest], numbers: TextIO) -> int:
    measure.warm()
    for number in numbers:
        print(json.dumps(measure.line(chosen[int(number)])), flush=True)
    return 0


def _costs(given: argparse.Namespace) -> int:
    here = given.tree or provenance.ROOT
    options = ["--honest"] if given.honest else []
    for name in ("data", "suite", "images", "training_images", "seed", "only", "every", "first"):
        options += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    options += ["--toy"] if given.toy else []
    pairs = costs.compared((given.against, here), len(_chosen(given)), options)
    line = {
        "kind": "cost",
        "data": given.data,
        "suite": given.suite,
        "images": pairs[0][0]["images"],
        "networks": len(pairs),
        "unreliable": [sum(pair[place]["status"] != "ok" for pair in pairs) for place in (0, 1)],
        "against": pairs[0][0]["harden"],
        "harden": pairs[0][1]["harden"],
        "robust_difference": round(
            sum(pair[1]["robust"] - pair[0]["robust"] for pair in pairs) / len(pairs), 5
        ),
        **costs.summary(pairs),
    }
    if given.record:
        provenance.append(RECORD, {**provenance.origin(), **line})
    print(json.dumps(line, sort_keys=True))
    return 0


def _sources() -> str:
    """Git's name of the folder harden in its last commit, with a mark where tracked files differ from it."""
    try:
        found = _git("rev-parse", "HEAD:./")[:16]
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{found}-changed" if changed else found


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=costs.package(), capture_output=True, text=True, check=True)
    return ran.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
