"""Time of a training step beside a loop in torch alone that makes the same passes.

    OMP_NUM_THREADS=1 python benchmarks/training_loop.py --rounds 30 --record

Claim: none; it measures. A small CNN with BatchNorm (117,520 weights) and a CIFAR ResNet-18, batches of
128 images of 32 x 32, plain training and adversarial training by PGD with 2 and 10 steps, in float32 and,
where the processor multiplies it, bfloat16. The bare loop has channels-last weights, attacks a copy with
BatchNorm folded that it refreshes at each step, and keeps no average. Steps of both alternate; the ratio is
of processor time, round by round. One JSON line a row.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fusion

from benchmarks.peering import networks, provenance
from benchmarks.peering.timing import interleaved
from harden.attacks import PGD
from harden.data import from_loader
from harden.models import Classifier, bfloat16_is_native
from harden.objectives import AdversarialTraining, Standard
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, train

RECORD = provenance.RESULTS / "training_loop.jsonl"
NETS: dict[str, Callable[[], nn.Sequential]] = {"small": networks.small, "resnet18": networks.resnet18}
EPS, RATE = 8 / 255, 0.05


class FoldedCopy:
    """A copy in inference mode whose convolutions hold the BatchNorm behind them."""

    def __init__(self, network: nn.Module, low: torch.dtype) -> None:
        was = network.training
        self.copy = torch.fx.symbolic_trace(deepcopy(network).eval())
        network.train(was)
        self.pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d, nn.Conv2d]] = []
        own, previous = dict(network.named_modules()), ""
        for node in self.copy.graph.nodes:
            name = str(node.target)
            norm, convolution = own.get(name), own.get(previous)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                fused = fusion.fuse_conv_bn_eval(convolution.eval(), norm.eval())
                self._put(previous, fused)
                self._put(name, nn.Identity())
                self.pairs.append((convolution, norm, fused))
            previous = name
        self.copy.requires_grad_(False).to(low)
        network.train(was)

    def _put(self, name: str, module: nn.Module) -> None:
        parent, _, last = name.rpartition(".")
        setattr(self.copy.get_submodule(parent), last, module)

    @torch.no_grad()
    def refresh(self) -> None:
        """Fold the present weights."""
        for convolution, norm, fused in self.pairs:
            variance, mean = norm.get_buffer("running_var"), norm.get_buffer("running_mean")
            scale = norm.weight / (variance + norm.eps).sqrt()
            fused.weight.copy_(convolution.weight * scale.view(-1, 1, 1, 1))
            fused.get_parameter("bias").copy_(norm.bias - mean * scale)


class BareLoop:
    """Steps in torch alone: PGD on the folded copy, then SGD on the network."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, steps: int, bfloat16: bool) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.x, self.y, self.steps, self.bfloat16 = x, y, steps, bfloat16
        decayed = [weight for weight in network.parameters() if weight.dim() > 1]
        others = [weight for weight in network.parameters() if weight.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)
        self.order = torch.Generator().manual_seed(0)
        self.batches: Iterator[Tensor] = iter(())
        self.copy = FoldedCopy(self.network, torch.bfloat16 if bfloat16 else torch.float32)
        linear = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
        self.unfolded = [
            pair
            for name, part in linear.items()
            for pair in zip(part.parameters(), self.copy.copy.get_submodule(name).parameters(), strict=True)
        ]

    def __call__(self, count: int) -> None:
        """Make so many steps."""
        for _ in range(count):
            rows = next(self.batches, None)
            if rows is None:
                self.batches = iter(torch.split(torch.randperm(len(self.x), generator=self.order), 128))
                rows = next(self.batches)
            self._step(self.x[rows], self.y[rows])

    def refresh(self) -> None:
        """Give the copy the present weights."""
        self.copy.refresh()
        for own, other in self.unfolded:
            other.data.copy_(own.data)

    def _step(self, x: Tensor, y: Tensor) -> None:
        low = torch.bfloat16 if self.bfloat16 else torch.float32
        point = x.to(memory_format=torch.channels_last)
        if self.steps:
            self.refresh()
            copy, clean = self.copy.copy, point
            point = (clean + torch.empty_like(clean).uniform_(-EPS, EPS)).clamp_(0, 1)
            for _ in range(self.steps):
                given = point.to(low).requires_grad_()
                loss = functional.cross_entropy(copy(given).float(), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, given)
                point = point + 1.5 / self.steps * EPS * gradient.float().sign()
                point = torch.minimum(torch.maximum(point, clean - EPS), clean + EPS).clamp_(0, 1)
        self.network.train()
        self.optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext():
            logits = self.network(point)
        torch.autograd.backward(functional.cross_entropy(logits.float(), y))
        self.optimiser.step()


class OurLoop:
    """Steps of `harden.training.train` on the same network and images; no validation."""

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, steps: int, bfloat16: bool) -> None:
        attack = PGD(steps, step_size=1.5 / steps, keep_best=False) if steps else None
        objective = Standard() if attack is None else AdversarialTraining(attack)
        stage = Stage("finetune", objective, Budget(1e6, "epochs"), optimiser=SGD(RATE), ramp=0.0)
        stage = replace(stage, bfloat16=bfloat16)
        self.records = train(stage, Classifier(network), from_loader((x, y), 128), Linf("8/255"))

    def __call__(self, count: int) -> None:
        """Make so many steps."""
        for _ in range(count):
            next(self.records)


def row(net: str, steps: int, bfloat16: bool, given: argparse.Namespace) -> dict[str, Any]:
    """The ratio of harden's steps to the bare loop's."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(given.images, 3, given.size, given.size, generator=draw)
    y = torch.randint(10, (given.images,), generator=draw)
    loops = {}
    for name, kind in (("harden", OurLoop), ("bare", BareLoop)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            network = NETS[net]()
        loops[name] = partial(kind(network, x, y, steps, bfloat16), given.steps)
    times = interleaved(loops, given.rounds)
    return {
        "net": net,
        "attack_steps": steps,
        "format": "bfloat16" if bfloat16 else "float32",
        "ratio": times.of_processor.ratio("harden", "bare"),
        "ratio_wall": times.ratio("harden", "bare"),
        "bare_ms": round(1000 * times.summary()["bare"]["median"] / given.steps, 2),
        "steps": given.steps,
        "rounds": given.rounds,
        "threads": torch.get_num_threads(),
    }


def main(words: list[str] | None = None) -> int:
    """Measure and print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nets", nargs="+", choices=[*NETS], default=["small"])
    parser.add_argument("--attacks", nargs="+", type=int, default=[0, 2, 10], help="steps of PGD; 0 for none")
    parser.add_argument(
        "--formats", nargs="+", choices=["float32", "bfloat16"], help="by default what the device has"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--record", action="store_true", help=f"add lines to results/{RECORD.name}")
    given = parser.parse_args(words)
    native = bfloat16_is_native(torch.device("cpu"))
    formats = given.formats or ["float32", *(["bfloat16"] if native else [])]
    for net in given.nets:
        for name in formats:
            for steps in given.attacks:
                line = row(net, steps, name == "bfloat16", given)
                print(json.dumps(line), flush=True)
                if given.record:
                    provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
