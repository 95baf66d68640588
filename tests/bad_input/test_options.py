"""Threats, budgets, recipes and what else is an option, in Python and on the command line."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harden
from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.evaluation import pgd_suite
from harden.objectives import TRADES
from harden.threats import from_name
from harden.training import AdamW, Budget, Checkpoints
from tests.bad_input.table import (
    FAST,
    RUN,
    Answer,
    Row,
    built,
    by_harden,
    check_line,
    classes,
    ids,
    listing,
    pictures,
    refused,
)

DATA = (pictures(), classes())
WIDE = "at most 1, the width of the box (0.0, 1.0)"
AMOUNT = 'write "10min", "300E" or "3epochs"'
NUMBER = "a finite number or a fraction"
WRITE = 'write "8/255" or 0.03'
CLASSIFIER = "write harden.Classifier(model, mean=..., std=...)"
DOCTOR = 'write --device cpu (in Python device="cpu"), or run `harden doctor`'
UNITS = "write it in pixel units of [0, 1]"
A_THREAT = ("Linf, L2 or L1", 'write threat=harden.Linf("8/255")')


def linf(eps: Any, name: str, seen: str, expected: str, instead: str) -> Row:
    return Row(name, lambda _: harden.Linf(eps), seen, expected, instead)


EPS = [
    linf(8, "eps-8", "eps 8", WIDE, "did you mean 8/255?"),
    linf("8", "eps-text-8", "eps 8", WIDE, "did you mean 8/255?"),
    linf(8.0, "eps-8.0", "eps 8.0", WIDE, "did you mean 8/255?"),
    linf("16/1", "eps-16-of-1", "eps 16/1", WIDE, "did you mean 16/255?"),
    linf(Fraction(4), "eps-fraction-4", "eps 4", WIDE, "did you mean 4/255?"),
    linf(255, "eps-255", "eps 255", WIDE, "did you mean 255/255?"),
    linf(256, "eps-256", "eps 256", WIDE, UNITS),
    linf(1.5, "eps-1.5", "eps 1.5", WIDE, UNITS),
    linf("255/8", "eps-upside-down", "eps 255/8", WIDE, "did you mean 8/255?"),
    linf(-1, "eps-minus-1", "eps -1", "a budget of 0 or more", 'write "1"'),
    linf("-8/255", "eps-minus-8-of-255", "eps -8/255", "a budget of 0 or more", 'write "8/255"'),
    linf(-8, "eps-minus-8", "eps -8", "a budget of 0 or more", "did you mean 8/255?"),
    linf(-0.03, "eps-minus-0.03", "eps -0.03", "a budget of 0 or more", 'write "3/100"'),
    linf(float("nan"), "eps-nan", "eps nan", NUMBER, WRITE),
    linf(float("inf"), "eps-inf", "eps inf", NUMBER, WRITE),
    linf("nan", "eps-text-nan", "eps 'nan'", NUMBER, WRITE),
    linf("8/0", "eps-8-of-0", "eps '8/0'", NUMBER, WRITE),
    linf("8 / 255 px", "eps-text", "eps '8 / 255 px'", NUMBER, WRITE),
    linf("", "eps-empty", "eps ''", NUMBER, WRITE),
    linf("0,03", "eps-comma", "eps '0,03'", NUMBER, WRITE),
    linf("8\n/255", "eps-two-lines", "eps '8\\n/255'", NUMBER, WRITE),
    linf(None, "eps-none", "eps None", NUMBER, WRITE),
    linf([8], "eps-list", "eps [8]", NUMBER, WRITE),
    linf(1e300, "eps-1e300", "eps 1e+300", "a budget that fits in float32", UNITS),
    Row("l2-negative", lambda _: harden.L2(-0.5), "eps -0.5", "a budget of 0 or more", 'write "1/2"'),
    Row("l1-negative", lambda _: harden.L1(-12), "eps -12", "a budget of 0 or more", 'write "12"'),
    Row("l2-beyond-float32", lambda _: harden.L2(1e39), "eps 1e+39", "a budget that fits in float32", UNITS),
    Row(
        "bounds-upside-down",
        lambda _: harden.Linf("8/255", (1.0, 0.0)),
        "bounds (1.0, 0.0)",
        "a finite box with low < high",
        "write bounds=(0.0, 1.0)",
    ),
    Row(
        "eps-0",
        lambda _: by_harden(DATA, threat=harden.Linf(0)),
        "a threat with eps 0",
        "a budget to harden against",
        'write Linf("8/255"), for instance',
    ),
    Row(
        "eps-0-in-a-claim",
        lambda _: export(built(), "out", DATA, Claim(harden.Linf(0), pgd_suite(1, 1))),
        "a claim with eps 0",
        "a positive budget",
        'write Linf("8/255"); clean accuracy is in it',
    ),
]

THREATS = [
    Row(
        "unknown-norm",
        lambda _: from_name("l0", "8/255"),
        "norm 'l0'",
        "linf, l2 or l1",
        "write --norm linf --eps 8/255, for instance",
    ),
    Row("threat-by-name", lambda _: by_harden(DATA, threat="linf"), "a threat 'linf'", *A_THREAT),
    Row("threat-as-number", lambda _: by_harden(DATA, threat=8 / 255), "a threat 0.03137…", *A_THREAT),
    Row("threat-none", lambda _: by_harden(DATA, threat=None), "a threat None", *A_THREAT),
    Row(
        "threat-class",
        lambda _: by_harden(DATA, threat=harden.Linf),
        "a threat <class 'harden.threats.linf.Linf'>",
        *A_THREAT,
    ),
    Row(
        "threat-by-name-to-evaluate",
        lambda _: harden.evaluate(built(), DATA, "linf", pgd_suite(1, 1)),  # type: ignore[call-overload]
        "a threat 'linf'",
        *A_THREAT,
    ),
    Row(
        "threat-by-name-to-export",
        lambda _: export(built(), "out", DATA, Claim("linf", pgd_suite(1, 1))),  # type: ignore[arg-type]
        "a threat 'linf'",
        *A_THREAT,
    ),
]


def budget(value: Any, name: str, seen: str, expected: str) -> Row:
    return Row(name, lambda _: by_harden(DATA, budget=value), seen, expected, AMOUNT)


REQUESTS = [
    budget("0epochs", "budget-0", "a budget of 0.0", "a positive amount"),
    budget("-1E", "budget-negative", "budget '-1E'", "an amount and a unit"),
    budget("10", "budget-without-unit", "budget '10'", "an amount and a unit"),
    budget(10, "budget-number", "budget 10", "an amount and a unit"),
    budget("nanmin", "budget-nan", "budget 'nanmin'", "an amount and a unit"),
    budget("10 minutes", "budget-minutes", "budget '10 minutes'", "an amount and a unit"),
    budget(None, "budget-none", "budget None", "an amount and a unit"),
    Row(
        "network-for-a-classifier",
        lambda _: harden.harden(built().network, DATA, threat=harden.Linf("8/255")),  # type: ignore[arg-type]
        "a Sequential",
        "a harden.Classifier",
        CLASSIFIER,
    ),
    Row(
        "network-to-evaluate",
        lambda _: harden.evaluate(built().network, DATA, harden.Linf("8/255")),  # type: ignore[call-overload]
        "a Sequential",
        "a harden.Classifier",
        CLASSIFIER,
    ),
    Row(
        "network-to-export",
        lambda _: export(built().network, "out", DATA, Claim(harden.Linf("8/255"))),  # type: ignore[arg-type]
        "a Sequential",
        "a harden.Classifier",
        CLASSIFIER,
    ),
    Row(
        "budget-inf",
        lambda _: Budget(float("inf"), "E"),
        "a budget of inf",
        "a positive amount",
        AMOUNT,
    ),
    Row(
        "recipe-by-name",
        lambda _: by_harden(DATA, recipe="trades"),
        "a recipe 'trades'",
        "a harden.Recipe",
        "write recipe=harden.Recipe(finetune=harden.TRADES()), for instance",
    ),
    Row(
        "objective-for-a-recipe",
        lambda _: by_harden(DATA, recipe=TRADES()),
        "a recipe TRADES…",
        "a harden.Recipe",
        "write recipe=harden.Recipe(finetune=harden.TRADES()), for instance",
    ),
    Row(
        "share-of-0",
        lambda _: harden.Recipe(held_out=0.0),
        "held_out 0.0",
        "a share between 0 and 1",
        "write held_out=0.1",
    ),
    Row(
        "unlabelled-for-nothing",
        lambda _: by_harden(DATA, unlabelled=DATA[0]),
        "unlabelled images and nothing to pretrain",
        "a contrastive objective that uses them",
        "write Recipe(pretrain=harden.objectives.SimCLR()), or leave them out",
    ),
    Row(
        "no-steps",
        lambda _: harden.PGD(steps=0),
        "0 steps and 1 restarts",
        "at least one of each",
        "write PGD(steps=10, restarts=1)",
    ),
    Row(
        "step-size-of-0",
        lambda _: harden.PGD(step_size=0.0),
        "step size 0.0",
        "a positive multiple of eps",
        "write step_size=0.25",
    ),
    Row(
        "no-attempts",
        lambda _: harden.evaluate(built(), DATA, harden.Linf("8/255"), ()),
        "no attempts",
        "at least one attack",
        "write attempts=harden.evaluation.standard()",
    ),
    Row(
        "checkpoint-every-minus-1",
        lambda place: Checkpoints(place / "progress", every=-1.0),
        "a checkpoint every -1.0 s",
        "0 seconds or more",
        "write every=30",
    ),
    Row(
        "learning-rate-negative",
        lambda _: by_harden(DATA, recipe=harden.Recipe(optimiser=AdamW(lr=-1.0))),
        "a learning rate of -1.0",
        "a number, 0 or more",
        "write lr=0.001, for instance",
    ),
    Row(
        "unknown-device",
        lambda _: by_harden(DATA, device="gpu"),
        "device 'gpu'",
        "cpu or cuda",
        DOCTOR,
    ),
    Row(
        "device-not-there",
        lambda _: by_harden(DATA, device="cuda:99"),
        "device 'cuda:99' with … CUDA devices here",
        "a device that is there",
        DOCTOR,
    ),
]


@pytest.mark.parametrize("row", ids([*EPS, *THREATS, *REQUESTS]))
def test_options_in_python(row: Row, place: Path) -> None:
    refused(row, place)


COMMAND = [
    ("--eps 8", f"eps 8; expected {WIDE}; did you mean 8/255?"),
    ("--eps 8.0", f"eps 8.0; expected {WIDE}; did you mean 8/255?"),
    ("--eps 255/8", f"eps 255/8; expected {WIDE}; did you mean 8/255?"),
    ("--eps 300", f"eps 300; expected {WIDE}; {UNITS}"),
    ("--eps -8", "eps -8; expected a budget of 0 or more; did you mean 8/255?"),
    ("--eps -8/255", 'eps -8/255; expected a budget of 0 or more; write "8/255"'),
    ("--eps nan", f"eps 'nan'; expected {NUMBER}; {WRITE}"),
    (
        "--norm linfinity",
        "norm 'linfinity'; expected linf, l2 or l1; write --norm linf --eps 8/255, for instance",
    ),
    ("--norm l2 --eps -1", 'eps -1; expected a budget of 0 or more; write "1"'),
    ("--budget 10", f"budget '10'; expected an amount and a unit; {AMOUNT}"),
    ("--lr 0", "--lr 0; expected a positive number; write --lr 0.1"),
]


@pytest.mark.parametrize(("words", "line"), COMMAND, ids=[words for words, _ in COMMAND])
def test_options_on_the_command_line(
    words: str, line: str, place: Path, command: Callable[..., Answer]
) -> None:
    x, y = DATA[0].permute(0, 2, 3, 1).numpy(), DATA[1].numpy()
    np.savez(place / "good.npz", x_train=x, y_train=y, x_test=x[:20] / 2, y_test=y[:20])
    before = listing(place)
    seen, expected, instead = line.replace("; expected ", ";", 1).split(";")
    answer = command("run", "--data", "npz:good.npz", *RUN, *FAST, *words.split())
    check_line(answer, seen, expected.strip(), instead.strip(), place)
    assert listing(place) == before


def test_the_largest_budget_is_taken() -> None:
    assert harden.Linf(1).eps == 1
    assert harden.L2(8).eps == 8
    assert harden.Linf(8, (0.0, 255.0)).eps == 8
