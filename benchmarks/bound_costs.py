"""Cost of bounds: seconds an image and peak memory over the size of a network and over the batch.

    python benchmarks/bound_costs.py --record --charts docs

Claim: none; it measures. Dense networks of two hidden layers and networks of two convolutions, untrained, on
1 x 28 x 28 images at L-inf 1/50, bounds for deployed float32. Each point is a process of its own: the median
of its rounds, and the rise of its resident memory above that before the first bound.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import nn

from benchmarks.peering import provenance
from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Method, Program, SlopeAscent, certify
from harden.certificate.page.charts import Axis, Series, line_chart
from harden.graph import read
from harden.models import Classifier
from harden.threats import Linf

RECORD = provenance.RESULTS / "bound_costs.jsonl"
METHODS: Final = {
    "ibp": Method(climb=None, backward=False),
    "crown": Method(climb=None),
    "alpha-crown": Method(climb=SlopeAscent(steps=20)),
}
SIZES: Final = {"dense": (64, 128, 256, 512, 1024), "conv": (4, 8, 16, 32)}
BATCHES: Final = (1, 4, 16, 64)
COLOURS: Final = {"ibp": "#4c78a8", "crown": "#2f8f5b", "alpha-crown": "#b5523b"}


def network(kind: str, size: int) -> nn.Module:
    """Two hidden layers of a width, or two convolutions with so many channels and twice as many."""
    torch.manual_seed(0)
    if kind == "dense":
        layers = [nn.Linear(784, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 10)]
        return nn.Sequential(nn.Flatten(), *layers)
    convs = [nn.Conv2d(1, size, 4, 2, 1), nn.ReLU(), nn.Conv2d(size, 2 * size, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(98 * size, 10))


def neurons(kind: str, size: int) -> int:
    """Number of ReLUs."""
    return 2 * size if kind == "dense" else 196 * size + 98 * size


def measured(kind: str, size: int, method: str, batch: int, rounds: int) -> dict[str, Any]:
    """One point, in this process."""
    program = Program.of(read(trace(Classifier(network(kind, size)), (1, 28, 28))))
    x = torch.rand(batch, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    # A label that is not the answer: nothing is proved, so that every method goes all its way.
    y = torch.zeros(batch, dtype=torch.int64)
    how = Method(climb=METHODS[method].climb, backward=METHODS[method].backward, batch=batch)
    before, seconds = _resident(reset=True), []
    for _ in range(rounds):
        began = time.perf_counter()
        certify(program, x, y, Linf("1/50"), how)
        seconds.append(time.perf_counter() - began)
    return {
        "kind": kind,
        "size": size,
        "neurons": neurons(kind, size),
        "method": method,
        "batch": batch,
        "seconds_per_image": median(seconds) / batch,
        "peak_mib": (_resident(reset=False) - before) / 1024,
    }


def _resident(*, reset: bool) -> int:
    """Kibibytes that are resident at most since the last reset, by Linux's own count."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in each]
    return int(line.split()[1])


def points() -> Iterator[tuple[str, int, str, int]]:
    """The measured settings: sizes at batch 16, and batches at one size."""
    for method in METHODS:
        for kind, sizes in SIZES.items():
            for size in sizes:
                yield kind, size, method, 16
        for batch in BATCHES:
            if batch != 16:
                yield "dense", 256, method, batch


def main(words: list[str] | None = None) -> int:
    """Measure all points, print a line for each, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=4, metavar=("KIND", "SIZE", "METHOD", "BATCH"), help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true", help="add lines to results/bound_costs.jsonl")
    parser.add_argument("--charts", type=Path, help="a folder to draw into")
    parser.add_argument("--recorded", action="store_true", help="draw what was recorded last")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    if given.one is not None:
        kind, size, method, batch = given.one
        print(json.dumps(measured(kind, int(size), method, int(batch), given.rounds)))
        return 0
    found = []
    for point in () if given.recorded else points():
        command = [sys.executable, __file__, "--rounds", str(given.rounds), "--one", *map(str, point)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        line = json.loads(said.splitlines()[-1])
        print(json.dumps(line), flush=True)
        found.append(line)
        if given.record:
            provenance.append(RECORD, {**line, **provenance.origin()})
    if given.recorded:
        lines = [json.loads(line) for line in RECORD.read_text().splitlines()]
        found = lines[-len(list(points())) :]
    if given.charts is not None:
        for name, text in charts(found).items():
            (given.charts / name).write_text(text)
    return 0


def charts(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Seconds an image over the ReLUs of dense networks, and over the batch: SVG files by name."""
    dense = [line for line in found if line["kind"] == "dense"]
    sizes = [line for line in dense if line["batch"] == 16]
    batches = [line for line in dense if line["size"] == 256]
    return {
        "bound-costs-size.svg": _chart(sizes, "neurons", "ReLUs of a dense network, batch 16"),
        "bound-costs-batch.svg": _chart(batches, "batch", "images at a time, 512 ReLUs"),
    }


def _chart(lines: Sequence[dict[str, Any]], over: str, title: str) -> str:
    places = sorted({line[over] for line in lines})
    exponents = [math.log10(line["seconds_per_image"]) for line in lines]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    x = Axis(title, math.log2(places[0]), math.log2(places[-1]), [(math.log2(at), str(at)) for at in places])
    y = Axis("", low, high, [(at, _told(at)) for at in range(low, high + 1)])
    series = [
        Series(
            method,
            method,
            [
                (math.log2(line[over]), math.log10(line["seconds_per_image"]))
                for line in sorted(lines, key=lambda each: int(each[over]))
                if line["method"] == method
            ],
        )
        for method in METHODS
    ]
    drawn = str(line_chart("Seconds an image", f"{len(series)} methods", x, y, series))
    return (
        drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace("</svg>", f"{_legend()}</svg>")
        .replace(">", f">{_style()}", 1)
    )


def _told(exponent: int) -> str:
    """10^exponent seconds, short enough for an axis."""
    return f"{10.0**exponent:g} s" if exponent >= 0 else f"{10.0 ** (exponent + 3):g} ms"


def _style() -> str:
    lines = "".join(
        f".line.{name}{{stroke:{colour}}}.dot.{name}{{fill:{colour}}}.name.{name}{{fill:{colour}}}"
        for name, colour in COLOURS.items()
    )
    return (
        "<style>svg{background:#fff}text{font:11px sans-serif;fill:#555}.grid{stroke:#ddd}.axis{stroke:#555}"
        f".line{{fill:none;stroke-width:1.8}}{lines}</style>"
    )


def _legend() -> str:
    return "".join(
        f'<text class="name {name}" x="{52 + 70 * at}" y="24">{name}</text>'
        for at, name in enumerate(METHODS)
    )


if __name__ == "__main__":
    sys.exit(main())
