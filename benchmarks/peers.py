"""Times of harden and of torchattacks, foolbox, ART and AutoAttack's APGD: one process, interleaved rounds.

    python benchmarks/peers.py --net small --threads 1 --rounds 5 --json small.json --autoattack CHECKOUT
    python -m benchmarks.peers --rows weak strength --data npz:cifar10.npz --cache weights --json rows.json

Claim: none; it measures. All attack the same weights on the same batch with the same steps. The limit is
steps x (forward + input gradient) of that network in fp32, frozen, contiguous, eager: a lower
bound for any attack on the network itself. docs/performance.md explains the rows and columns. Libraries that
are not installed are left out, and a line reports it. `--record` adds a line to results/peers.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch

from benchmarks.peering import evaluations, memory, networks, provenance, speed, strength
from benchmarks.peering.contenders import Setting
from benchmarks.peering.trained import Place

ROWS = ("speed", "apgd", "weak", "strength", "memory")
BATCHES = {"small": 128, "resnet18": 32}


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--net", choices=tuple(BATCHES), default="small")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["speed"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="128 for small, 32 for resnet18")
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--autoattack", type=Path, help="a checkout of fra31/auto-attack")
    parser.add_argument("--freeze", action="store_true", help="the peers' network wants no weight gradients")
    parser.add_argument("--data", nargs="+", default=["digits"], help="digits, npz:FILE: rows weak, strength")
    parser.add_argument("--cache", type=Path, help="folder of trained weights; a temporary one otherwise")
    parser.add_argument("--train-for", default="90s", help="budget of each training")
    parser.add_argument("--images", type=int, default=1000, help="test images in rows weak and strength")
    parser.add_argument("--training-images", type=int, default=10_000, help="likewise")
    parser.add_argument("--seeds", type=int, default=1, help="of the attacks in row strength")
    parser.add_argument("--record", action="store_true", help="add a line to results/peers.jsonl")
    parser.add_argument("--toy", action="store_true", help="1 round, 2 steps, batch 4: does it run at all?")
    return parser.parse_args(words)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Run the rows; the first is at the top of the object, the others under their names."""
    toy = given.toy
    setting = Setting(
        steps=2 if toy else given.steps,
        batch=4 if toy else given.batch or BATCHES[given.net],
        autoattack=given.autoattack,
    )
    rounds = 1 if toy else given.rounds
    found: dict[str, Any] = {}
    subject = subject_named(given.net, setting.batch, toy)
    subject.theirs.requires_grad_(not given.freeze)
    sizes = (8, 64) if toy else (given.images, given.training_images)
    with Place(given.cache, "7E" if toy else given.train_for, *sizes) as place:
        for row in given.rows:
            print(f"{row}: load {provenance.load()}", flush=True)
            if row == "speed":
                found |= speed.speed(subject, setting, rounds)
            elif row == "apgd":
                found[row] = speed.apgd(subject, setting, rounds)
            elif row == "weak":
                found[row] = evaluations.weak(given.data[0], place, setting, rounds)
            elif row == "strength":
                found[row] = strength.strength(given.data, place, setting.steps, given.seeds)
            else:
                found[row] = memory.memory(given.net, setting, toy)
    n = {"rounds": rounds, "steps": setting.steps, "batch": setting.batch}
    return {"net": given.net, "parameters": subject.parameters, "threads": given.threads, "n": n, **found}


def subject_named(net: str, batch: int, toy: bool = False) -> networks.Subject:
    """The network as initialised, on random images 3 x 32 x 32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = networks.small() if net == "small" else networks.resnet18(width=8 if toy else 64)
    return networks.random_subject(network, batch, 32)


def told(result: dict[str, Any]) -> None:
    """Print the table, then what was left out."""
    print(f"{result['net']}: {result['parameters']:,} parameters, {result['n']}, {result['threads']} threads")
    for row in (result, *(result.get("apgd", {}).get(norm, {}) for norm in ("linf", "l1"))):
        for name, ratio in row.get("ratio_to_limit_spread", {}).items():
            seconds = row["seconds"][name]["median"]
            own = row.get("ratio_to_own_limit", {}).get(name)
            more = "" if own is None else f", {own:.3f} of its own limit"
            more += f"; fastest {row['fastest_ratio_to_limit'][name]:.3f}"
            more += f"; {row['processor_ratio_to_limit'][name]['median']:.3f} in processor time"
            spread = f"{ratio['median']:.3f} of the limit [{ratio['min']:.3f}, {ratio['max']:.3f}]"
            print(f"  {name:16} {seconds:8.3f} s  {spread}{more}")
        for name, ratio in row.get("others_to_limit", {}).items():
            print(f"  {name:24} {ratio['median']:.3f} of the limit")
        for name, others in row.get("times_faster", {}).items():
            shown = ", ".join(f"{ratio['median']:.2f} x {other}" for other, ratio in others.items())
            print(f"  {name}: {shown}")
    for row in ("weak", "strength", "memory"):
        if row in result:
            print(json.dumps({row: result[row]}, indent=1))
    for part in (result, *(result.get(row, {}) for row in ROWS)):
        for name, reason in part.get("absent", {}).items():
            print(f"left out: {name}: {reason}")


def main(words: list[str] | None = None) -> int:
    """Measure, print, write."""
    given = parsed(words)
    torch.set_num_threads(given.threads)
    before = provenance.machine()
    result = measured(given)
    result |= {
        "rows": given.rows,
        "versions": provenance.versions(given.autoattack),
        "machine": {**before, "load_after": provenance.load()},
        "date": provenance.date(),
        "commit": provenance.commit(),
        "frozen_peers": given.freeze,
    }
    told(result)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    if given.record:
        provenance.append(provenance.RESULTS / "peers.jsonl", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
