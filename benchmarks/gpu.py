"""Times of harden on a CUDA device: eager and graphs, its peers, its steps and a copy.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --dry-run --out toy.jsonl

Claim: none; it measures. CIFAR ResNet-18 and ResNet-50 at 224, batches of 32 to 1024, PGD with fixed steps,
CUDA events, median of interleaved rounds. One JSON line a row goes to results/gpu.jsonl; rows that it
holds for the same commit and device are not measured again, so an interrupted session continues. A dry run
executes every path on the CPU at toy size; its times have no meaning. The columns: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor, nn

from benchmarks.peering import engine, networks, provenance
from benchmarks.peering.contenders import Setting, frozen_copy, gradient_of, limit, peers
from benchmarks.peering.device import Device, copy_of, repeated, step_of
from benchmarks.peering.speed import against_limit, alpha_of, bound, faster
from benchmarks.peering.timing import Work, interleaved
from harden.attacks import PGD
from harden.threats import Linf

NETS = ("resnet18", "resnet50")
BATCHES = (32, 64, 128, 256, 512, 1024)
WHOLE = (1024, 1, 256, 256)
"""256 MiB of float32: far beyond any cache, so its copy measures memory."""
Row = tuple[dict[str, Any], Callable[[], dict[str, Any]]]


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="results/gpu.jsonl; nowhere that stays in a dry run")
    parser.add_argument("--commit", help="where the checkout is no git repository")
    parser.add_argument("--autoattack", type=Path, help="a checkout of fra31/auto-attack")
    parser.add_argument("--dry-run", action="store_true", help="every path on the CPU, at toy size")
    given = parser.parse_args(words)
    if given.dry_run:
        given.batches, given.steps, given.rounds = [2, 3], 1, 1
    return given


def rows(given: argparse.Namespace, device: Device) -> Iterator[Row]:
    """The key of each row, and the function that measures it."""
    whole = (4, 1, 8, 8) if device.dry else WHOLE
    yield {"row": "steps", "shape": list(whole)}, partial(steps_row, whole, given.rounds, device)
    for net in given.nets:
        size = image_size(net, device.dry)
        for batch in given.batches:
            shape = (batch, 3, size, size)
            name = {"net": net, "batch": batch}
            yield (
                {"row": "steps", **name, "shape": list(shape)},
                partial(steps_row, shape, given.rounds, device),
            )
            setting = Setting(given.steps, batch, autoattack=given.autoattack)
            measure = partial(attack_row, net, setting, given.rounds, device)
            yield {"row": "attack", **name, "steps": given.steps}, measure


def steps_row(shape: tuple[int, ...], rounds: int, device: Device) -> dict[str, Any]:
    """Bytes that a step has to move by its time, as a share of what a copy of such a tensor reaches."""
    times = 1 if device.dry else 20
    works = {"copy": copy_of(shape, device.kind)}
    works |= {norm: step_of(norm, shape, device.kind) for norm in ("linf", "l2")}
    clocked = interleaved(
        {name: repeated(work, times) for name, (work, _) in works.items()}, rounds, device.clock
    )
    seconds = {name: found["median"] / times for name, found in clocked.summary().items()}
    speed = {name: size / max(seconds[name], 1e-9) for name, (_, size) in works.items()}
    return {
        "bytes": {name: size for name, (_, size) in works.items()},
        "seconds": seconds,
        "gigabytes_per_second": {name: round(value / 1e9, 2) for name, value in speed.items()},
        "share_of_copy": {norm: round(speed[norm] / speed["copy"], 4) for norm in ("linf", "l2")},
    }


def attack_row(net: str, setting: Setting, rounds: int, device: Device) -> dict[str, Any]:
    """PGD in L-infinity with fixed steps: everybody against eager and graph-replayed forward + backward."""
    subject = networks.random_subject(
        network_named(net, device.dry), setting.batch, image_size(net, device.dry), device.kind
    )
    judge, attack = frozen_copy(subject.theirs), PGD(setting.steps, alpha_of(setting), stop_early=False)
    columns, absent = engine.columns(device.kind)
    found, missing = peers(subject, setting)
    searches = {"limit": limit(judge, setting.steps), **found}
    works = {"limit, graph": replayed(judge, subject.x, subject.y, setting.steps, device)}
    copies = {}
    for name, precision in columns.items():
        copied = engine.prepared(subject, precision)
        copies[name] = copied.describe()
        searches[name] = engine.search(attack, subject, Linf(setting.eps), copied)
        searches[f"{name}, eager"] = engine.eager(attack, subject, Linf(setting.eps), copied)
        x = copied.lay_out(subject.x)
        works[f"{name}, own limit"] = repeated(partial(gradient_of, copied, x, subject.y), setting.steps)
        works[f"{name}, own limit, graph"] = replayed(copied, x, subject.y, setting.steps, device)
    works |= bound(searches, subject)
    times = interleaved(works, rounds, device.clock)
    return {
        **against_limit(times, [name for name in works if name != "limit"]),
        "ratio_to_graph": {name: times.ratio(name, "limit, graph")["median"] for name in columns},
        "ratio_to_own_graph": {
            name: times.ratio(name, f"{name}, own limit, graph")["median"] for name in columns
        },
        "times_faster": faster(times, [*columns], [*found]),
        "seconds": times.summary(),
        "peak_mib": {name: device.peak_mib(work) for name, work in works.items()},
        "step_bytes": 4 * subject.x.nbytes,
        "parameters": subject.parameters,
        "prepared": copies,
        "absent": absent | missing,
    }


def replayed(classify: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, steps: int, device: Device) -> Work:
    """Forward and input gradient captured once and replayed: what so many steps cost without a host."""
    return repeated(device.captured(partial(gradient_of, classify, x, y)), steps)


def network_named(net: str, dry: bool) -> nn.Module:
    """The network as initialised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if net == "resnet18":
            return networks.resnet18(width=4 if dry else 64)
        from torchvision.models.resnet import Bottleneck, ResNet

        network: nn.Module = ResNet(Bottleneck, [1, 1, 1, 1] if dry else [3, 4, 6, 3])
        return network


def image_size(net: str, dry: bool) -> int:
    """Height and width of the images."""
    return {"resnet18": 16 if dry else 32, "resnet50": 32 if dry else 224}[net]


def measured(given: argparse.Namespace, device: Device, out: Path) -> list[dict[str, Any]]:
    """Measure the rows that the file lacks for this commit and device, a line each."""
    common = {"commit": given.commit or provenance.commit(), "device": device.name}
    known = provenance.recorded(out)
    more = {
        "machine": device.describe(),
        "versions": provenance.versions(given.autoattack),
        "rounds": given.rounds,
    }
    found = []
    for name, measure in rows(given, device):
        key = {**common, **name}
        if any(all(line.get(part) == value for part, value in key.items()) for line in known):
            print(f"recorded already: {json.dumps(name)}")
            continue
        try:
            line = measure()
        except ImportError as error:
            print(f"left out: {json.dumps(name)}: {error}")
            continue
        except torch.OutOfMemoryError:
            line = {"skipped": "out of memory"}
        device.release()
        found.append({**key, **more, **line, "date": provenance.date()})
        provenance.append(out, found[-1])
        shown = {part: line[part] for part in ("share_of_copy", "ratio_to_limit", "skipped") if part in line}
        print(json.dumps({**name, **shown}), flush=True)
    return found


def main(words: list[str] | None = None) -> int:
    """Measure and write; 2 where there is no device to measure on."""
    given = parsed(words)
    if not given.dry_run and not torch.cuda.is_available():
        print("there is no CUDA device; --dry-run walks the paths without one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="harden-gpu-") as name:
        out = given.out or (Path(name) if given.dry_run else provenance.RESULTS) / "gpu.jsonl"
        measured(given, Device(given.dry_run), out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
