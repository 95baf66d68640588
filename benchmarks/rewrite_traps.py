"""Proofs of harden for files whose claims onnxruntime's rewriting or float32 breaks at a known corner.

    python benchmarks/rewrite_traps.py --record
    python benchmarks/rewrite_traps.py --kinds conv_bn pad_max_pool --files /tmp/traps

Claim: none of the traps is `unsat` or `certified`, and none ends in a traceback (exit code 1 otherwise).

Each trap is a small classifier of 24 pixels whose first logit is ahead on the whole box 1/2 +- 1/4 by the
graph read in real numbers, and is not at one corner, known by construction, as a session of onnxruntime
with default settings runs it. The selector is flat but near that corner, so attacks do not find it.
Controls: `silent`, the same graph whose selector never opens, and `benign`, the same graph with factors of
2 and 1/2. Where onnxruntime keeps the answer, how many of them harden proves is counted, so that a tool that
refuses everything is seen. A trap counts where its rewrite fired, by the operators of the files that
onnxruntime writes at each level, and the session's answer at the corner is wrong or NaN.

Bounds are computed first, by the functions that both commands call. What they prove is put to the commands,
until one of them has confirmed a proof for that kind and role, and so is one trap of each kind of which the
bounds prove nothing; --commands puts every file to both.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import onnx
import onnxruntime
import torch

from benchmarks.peering import provenance
from benchmarks.traps import runtime, verdicts
from benchmarks.traps.catalogue import KINDS
from benchmarks.traps.frame import Kind, Trap, centre, made
from benchmarks.traps.strengths import ONE, Strength
from benchmarks.traps.verdicts import Verdict

RECORD: Final = provenance.RESULTS / "rewrite_traps.jsonl"
MINUTES: Final = 0.1
IMAGE_MINUTES: Final = 0.5


@final
@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The commands of harden that are run on a file.

    Args:
        always: both commands, independent of the bounds.
        process: the commands as processes of their own.
        confirmed: a command has already proved a file of this kind and role: the bounds are enough.
        images: `--data` also where `--vnnlib` proves.
        branching: `--vnnlib` also where the bounds prove nothing: branch and bound may, or crash.
    """

    always: bool = False
    process: bool = False
    confirmed: bool = False
    images: bool = True
    branching: bool = False

    def __call__(self, trap: Trap) -> dict[str, Verdict]:
        """What harden says of one file."""
        found = {"bounds": verdicts.of_bounds(trap)}
        suspect = found["bounds"].said in ("certified", "traceback") and not self.confirmed
        if self.always or suspect or (self.branching and found["bounds"].said == "unknown"):
            found["vnnlib"] = verdicts.of_property(trap, MINUTES, process=self.process)
            if self.always or (suspect and (self.images or not found["vnnlib"].proved)):
                found["data"] = verdicts.of_image(trap, IMAGE_MINUTES, process=self.process)
        return found


def measured(kind: Kind, strength: Strength, role: str, asking: CommandOptions) -> dict[str, Any]:
    """One trap or control, as JSON."""
    trap = made(kind, strength, role)
    content = trap.model.SerializeToString()
    operators = runtime.operators(content)
    said = asking(trap)
    line: dict[str, Any] = {
        "kind": kind.name,
        "group": kind.group,
        "magnitude": trap.magnitude,
        "role": role,
        "fired": runtime.fired(kind, operators),
        "verdicts": {name: each.said for name, each in said.items()},
        "why": next((each.why for each in said.values() if each.why), ""),
        "proved": any(each.proved for each in _final(said)),
        "traceback": any(each.said not in _ANSWERS for each in _final(said)),
    }
    if role == "trap":
        answers = runtime.answers(content, trap.point)
        return line | {
            "point": trap.point.flatten().tolist(),
            "answers": {name: [str(value) for value in each] for name, each in answers.items()},
            "operators": operators,
            "broken": runtime.broken(answers["default"]),
            "broken_at": [name for name, each in answers.items() if runtime.broken(each)],
            "centre_broken": runtime.broken(runtime.default(content, centre())[0]),
        }
    return line | {"robust": runtime.robust(content, trap.point)}


_ANSWERS: Final = ("unsat", "sat", "unknown", "certified", "falsified", "refused")


def _final(said: dict[str, Verdict]) -> list[Verdict]:
    """The verdicts of the commands where they were run; they check more than the bounds do."""
    return [each for name, each in said.items() if name != "bounds"] or list(said.values())


def wrong(line: dict[str, Any]) -> bool:
    """Return whether a false claim was proved, or a command crashed."""
    holds = not line["broken"] if line["role"] == "trap" else line["robust"]
    return bool(line["traceback"] or (line["proved"] and not holds))


def counted(lines: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """By kind: traps, those whose rewrite fired and whose corner breaks, false proofs, crashes, controls."""
    table: dict[str, Counter[str]] = {}
    for line in lines:
        row = table.setdefault(line["kind"], Counter())
        row["tracebacks"] += line["traceback"]
        if line["role"] == "trap":
            row["traps"] += 1
            row["fired"] += line["fired"]
            row["true"] += line["fired"] and line["broken"]
            row["false"] += line["broken"] and line["proved"]
            row["sat"] += "sat" in line["verdicts"].values() or "falsified" in line["verdicts"].values()
        else:
            row["controls"] += line["robust"]
            row["controls_proved"] += line["robust"] and line["proved"]
            row["false"] += not line["robust"] and line["proved"]
    names = ("traps", "fired", "true", "false", "sat", "tracebacks", "controls", "controls_proved")
    return {kind: {name: int(row[name]) for name in names} for kind, row in table.items()}


def recorded(kind: str, counts: dict[str, int], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """One kind for the record: what the rewrite changed, where the corner breaks, and what harden says."""
    mine = [line for line in lines if line["kind"] == kind]
    first = next(line for line in mine if line["role"] == "trap")
    given, last = first["operators"]["given"], first["operators"]["all"]
    changed = {name: last.get(name, 0) - given.get(name, 0) for name in sorted({*given, *last})}
    return {
        "kind": kind,
        "group": first["group"],
        **counts,
        "operators_changed": {name: number for name, number in changed.items() if number},
        "signs": "".join("+" if value > 0.5 else "-" for value in first["point"]),
        "magnitudes": {
            line["magnitude"]: {"broken_at": line["broken_at"], **line["verdicts"]}
            for line in mine
            if line["role"] == "trap"
        },
        "controls_said": {
            f"{line['role']} {line['magnitude']}": line["verdicts"] for line in mine if line["role"] != "trap"
        },
    }


def _jobs(names: list[str], silent: int) -> list[tuple[Kind, Strength, str]]:
    found: list[tuple[Kind, Strength, str]] = []
    for kind in KINDS:
        if not names or kind.name in names:
            found += [(kind, strength, "trap") for strength in kind.strengths]
            found += [(kind, strength, "silent") for strength in kind.strengths[1 : 1 + silent]]
            found.append((kind, ONE, "benign"))
    return found


def _confirmed(lines: list[dict[str, Any]], kind: Kind, role: str) -> bool:
    same = [
        line for line in lines if line["kind"] == kind.name and (line["role"] == "trap") == (role == "trap")
    ]
    return any(line["proved"] and len(line["verdicts"]) > 1 for line in same)


def _kept(kind: Kind, role: str, strength: Strength, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    trap = made(kind, strength, role)
    onnx.save(trap.model, folder / f"{trap.name}.onnx")


def show(table: dict[str, dict[str, int]]) -> None:
    """Print a line for each kind, and the sums."""
    total: Counter[str] = Counter()
    for kind, row in table.items():
        total.update(row)
        print(f"{kind:28}", " ".join(f"{name} {value}" for name, value in row.items()))
    print(f"{len(table)} kinds:", " ".join(f"{name} {value}" for name, value in total.items()))


def main(words: list[str] | None = None) -> int:
    """Build, run and evaluate the traps; 1 where a false claim was proved or a command crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kinds", nargs="*", default=[], help="these alone")
    parser.add_argument("--silent", type=int, default=1, help="silent controls of each kind")
    parser.add_argument("--commands", action="store_true", help="put every file to both commands")
    parser.add_argument("--process", action="store_true", help="the commands as processes of their own")
    parser.add_argument("--files", type=Path, help="where to write files that are wrongly proved or crash")
    parser.add_argument("--lines", type=Path, help="where to write a JSON line for each file")
    parser.add_argument(
        "--record", action="store_true", help="add a line a kind to results/rewrite_traps.jsonl"
    )
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    for number, (kind, strength, role) in enumerate(_jobs(given.kinds, given.silent)):
        confirmed, both = _confirmed(lines, kind, role), role == "trap" and number % 2 == 0
        asking = CommandOptions(given.commands, given.process, confirmed, both, strength is kind.strengths[2])
        lines.append(measured(kind, strength, role, asking))
        print(_word(lines[-1]), flush=True)
        if wrong(lines[-1]) and given.files is not None:
            _kept(kind, role, strength, given.files)
        if given.lines is not None:
            provenance.append(given.lines, lines[-1])
    table = counted(lines)
    show(table)
    if given.record:
        versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
        for kind_name, counts in table.items():
            provenance.append(RECORD, recorded(kind_name, counts, lines))
        total = {name: sum(row[name] for row in table.values()) for name in next(iter(table.values()))}
        provenance.append(
            RECORD, {"summary": total, "kinds": len(table), "runtime": versions, **provenance.origin()}
        )
    return int(any(row["false"] or row["tracebacks"] for row in table.values()))


def _word(line: dict[str, Any]) -> str:
    said = " ".join(f"{name}={each}" for name, each in line["verdicts"].items())
    truth = f"broken={line['broken']}" if line["role"] == "trap" else f"robust={line['robust']}"
    fired = "" if line["fired"] else " (rewrite did not fire)"
    start = f"{'WRONG ' * wrong(line)}{line['kind']} {line['magnitude']} {line['role']}"
    return f"{start}: {truth}{fired} {said} {line['why'][:120]}"


if __name__ == "__main__":
    sys.exit(main())
