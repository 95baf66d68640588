"""Rows `speed` and `apgd`: the same network, batch and steps for all, interleaved, against the limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peering import engine
from benchmarks.peering.contenders import (
    Setting,
    autoattack_apgd,
    frozen_copy,
    limit,
    own_limit,
    peers,
    plain_loop,
)
from benchmarks.peering.engine import Search
from benchmarks.peering.networks import Subject
from benchmarks.peering.timing import Times, interleaved
from harden.attacks import APGD, PGD
from harden.models import PassMeter, counting
from harden.threats import Linf

L1_EPS = 12.0


def speed(subject: Subject, setting: Setting, rounds: int) -> dict[str, Any]:
    """PGD in L-infinity with fixed steps: `ratio_to_limit` and what else the columns show."""
    columns, absent = engine.columns()
    judge, threat, alpha = frozen_copy(subject.theirs), Linf(setting.eps), alpha_of(setting)
    searches: dict[str, Search] = {"limit": limit(judge, setting.steps)}
    seconds, copies = {}, {}
    for name, precision in columns.items():
        start = time.perf_counter()
        copied = engine.prepared(subject, precision)
        seconds[name], copies[name] = round(time.perf_counter() - start, 4), copied.describe()
        best, last = (
            PGD(setting.steps, alpha, stop_early=False),
            PGD(setting.steps, alpha, keep_best=False),
        )
        searches[name] = engine.search(best, subject, threat, copied)
        searches[f"{name}, last point"] = engine.search(last, subject, threat, copied)
        searches[f"{name}, own limit"] = own_limit(copied, judge, setting.steps)
    found, missing = peers(subject, setting)
    searches |= {"backward loop": plain_loop(subject.theirs, setting), **found}
    times = interleaved(bound(searches, subject), rounds)
    own = {name: times.ratio(name, f"{name}, own limit") for name in columns}
    return {
        **against_limit(times, [*columns, *found]),
        "ratio_to_own_limit": {name: ratio["median"] for name, ratio in own.items()},
        "ratio_to_own_limit_spread": own,
        "others_to_limit": {
            name: times.ratio(name, "limit") for name in searches if name not in (*columns, *found)
        },
        "times_faster": faster(times, [*columns], [*found]),
        "seconds": times.summary(),
        "prepare_seconds": seconds,
        "prepared": copies,
        "reached": {name: reached(searches[name], subject, judge) for name in [*columns, *found]},
        "absent": absent | missing,
    }


def apgd(subject: Subject, setting: Setting, rounds: int) -> dict[str, Any]:
    """APGD against AutoAttack's, as many steps, no early stop, L-infinity and L1.

    Labels are the network's own answers, so AutoAttack, which leaves out what is misclassified before the
    start and drops nothing within a restart, works on every image to the end, as harden does here. Its
    L1 runs at one eps: the threefold schedule (`use_largereps`) is off.
    """
    judge, found, absent = frozen_copy(subject.theirs), {}, {}
    columns, without = engine.columns()
    copies = {name: engine.prepared(subject, precision) for name, precision in columns.items()}
    attack = APGD(setting.steps, stop_early=False)
    for norm, theirs, eps in (("linf", "Linf", setting.eps), ("l1", "L1", L1_EPS)):
        threat = engine.threat_of(norm, eps)
        if threat is None:
            absent[norm] = f"this checkout has no {norm}"
            continue
        searches = {name: engine.search(attack, subject, threat, copy) for name, copy in copies.items()}
        searches["limit"] = limit(judge, setting.steps)
        try:
            searches["autoattack_apgd"] = autoattack_apgd(subject, setting, theirs, eps)
        except ImportError as error:
            absent[f"autoattack_apgd in {norm}"] = str(error)
        there = [name for name in searches if name != "limit"]
        times = interleaved(bound(searches, subject), rounds)
        found[norm] = {
            **against_limit(times, there),
            "times_faster": faster(times, list(columns), [name for name in there if name not in columns]),
            "seconds": times.summary(),
            "reached": {name: reached(searches[name], subject, judge) for name in there},
            "eps": eps,
        }
    return {**found, "absent": absent | without}


def alpha_of(setting: Setting) -> float:
    """The step size as harden counts it: a multiple of eps."""
    return setting.alpha / setting.eps


def bound(searches: dict[str, Search], subject: Subject) -> dict[str, Callable[[], object]]:
    """The searches on the subject's images."""

    def on_images(search: Search) -> Callable[[], object]:
        return lambda: search(subject.x, subject.y)

    return {name: on_images(search) for name, search in searches.items()}


def against_limit(times: Times, names: list[str]) -> dict[str, Any]:
    """Ratios to the limit, the medians under the names that the issue tracker's targets use."""
    ratios = {name: times.ratio(name, "limit") for name in names}
    return {
        "ratio_to_limit": {name: ratio["median"] for name, ratio in ratios.items()},
        "ratio_to_limit_spread": ratios,
        "fastest_ratio_to_limit": {name: times.of_fastest(name, "limit") for name in names},
        "processor_ratio_to_limit": {name: times.of_processor.ratio(name, "limit") for name in names},
    }


def faster(times: Times, ours: list[str], others: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """How many times as long each of the others takes: above 1 means that harden is ahead."""
    return {name: {other: times.ratio(other, name) for other in others} for name in ours}


def counted(search: Search, subject: Subject) -> tuple[Tensor, float]:
    """Run once; what came out, and passes for each image: a forward is a third, its backward two thirds."""
    thirds = 0

    def arrived(gradient: Tensor) -> None:
        nonlocal thirds
        thirds += 2 * len(gradient)

    def watch(_: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        nonlocal thirds
        thirds += len(inputs[0])
        if logits.requires_grad:
            logits.register_hook(arrived)  # type: ignore[no-untyped-call]  # torch left it untyped

    handle = subject.theirs.register_forward_hook(watch)
    try:
        with counting(PassMeter()) as meter:
            result = search(subject.x, subject.y)
    finally:
        handle.remove()
    return result.detach(), round((meter.passes + thirds / 3) / len(subject.x), 3)


def reached(search: Search, subject: Subject, judge: nn.Module) -> dict[str, float]:
    """Say what it took and what it came to, judged by the same fp32 network: no speed without it."""
    x_adv, passes = counted(search, subject)
    with torch.no_grad():
        logits = judge(x_adv)
    loss = nn.functional.cross_entropy(logits, subject.y)
    return {
        "passes_per_image": passes,
        "robust": round(float((logits.argmax(1) == subject.y).float().mean()), 4),
        "cross_entropy": round(float(loss), 4),
        "largest_change": round(float((x_adv - subject.x).abs().amax()), 7),
    }
