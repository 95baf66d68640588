"""Cost, in images and time, of proofs for the graphs that onnxruntime executes, not the file as written.

    python benchmarks/runtime_proofs.py --record
    python benchmarks/runtime_proofs.py --wong wong_mnist.pth npz:mnist.npz --images 1000 --record

Claim: proofs of every graph that a session executes, each compared with sessions of all levels of graph
optimisation and of 1 and 2 threads, certify as many images as proofs of the file as it is written, and take
at most 1.3 times as long; with the attacks of `harden certify` included, less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch

from benchmarks.peering import cases, provenance
from benchmarks.peering.trained import Place
from harden.artefact.classifier_to_onnx import trace
from harden.artefact.runtime.executed_programs import executions
from harden.bounds import Method, Program, SlopeAscent
from harden.data import from_loader
from harden.evaluation import Evaluation, evaluate, quick
from harden.evaluation.proofs.prove import EvaluatedImages, ProofResult, RadiusSearch, prove
from harden.evaluation.proofs.runtime_agreement import Execution
from harden.graph import read
from harden.models import Classifier
from harden.statistics import Proportion

RECORD = provenance.RESULTS / "runtime_proofs.jsonl"
METHODS = {
    "ibp": Method(climb=None, backward=False),
    "crown": Method(climb=None),
    "alpha-crown": Method(climb=SlopeAscent()),
}


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each network and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wong", nargs=2, metavar=("FILE", "DATA"), help="the network of Wong and Kolter")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--record", action="store_true", help=f"add lines to results/{RECORD.name}")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    chosen = ([], [], []) if given.wong else (["digits"], ["robust"], ["linf"])
    with Place(None, "7E", given.images) as place:
        for case in cases.of(*chosen, place, given.wong):
            for name in given.methods:
                line = {**case.described, **measured(case, name, given.rounds)}
                print(json.dumps(line), flush=True)
                if given.record:
                    provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


def measured(case: cases.Case, name: str, rounds: int) -> dict[str, Any]:
    """Images certified both ways, and the ratio of seconds, round by round."""
    x, y = case.subject.x, case.subject.y
    model = Classifier(case.subject.theirs)
    content = trace(model, (x.shape[1], x.shape[2], x.shape[3])).SerializeToString()
    executed = executions(content)
    written = (Execution(Program.of(read(content)), ("disabled",)),)
    began = time.perf_counter()
    found = evaluate(model, (x, y), case.threat, quick())
    attacks = time.perf_counter() - began
    search = RadiusSearch(METHODS[name], steps=0)
    images = EvaluatedImages(from_loader((x, y), 256), found)
    ratios, whole = [], []
    for _ in range(rounds):
        one, before = _timed(lambda: prove(written, images, search))
        other, after = _timed(lambda: prove(executed, images, search))
        ratios.append(after / before)
        whole.append((attacks + after) / (attacks + before))
    return {
        "method": str(search.method),
        "images": len(y),
        "graphs": len(executed),
        "certified as written": _share(one, found),
        "certified as executed": _share(other, found),
        "disagreement": None if other.disagreement is None else str(other.disagreement),
        "time ratio of proofs": _spread(ratios),
        "time ratio with attacks": _spread(whole),
        "seconds of attacks": round(attacks, 2),
        "seconds of proofs": round(after, 2),
    }


def _timed(run: Callable[[], ProofResult]) -> tuple[ProofResult, float]:
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def _share(proved: ProofResult, found: Evaluation) -> dict[str, Any]:
    share = Proportion.of(proved.certified.tolist())
    return {"count": share.count, "of": len(found.labels), "interval": list(share.interval)}


def _spread(ratios: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
