"""Puts a gadget behind a selector that is 0 on the box but near one corner, and writes the question."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import onnx

from benchmarks.traps.net import COPIES, Array, Net, f32
from benchmarks.traps.strengths import FOLDED, ONE, VALUES, Strength

SHAPE: Final = (1, 4, 6)
INPUTS: Final = 24
EPS: Final = "1/4"
GAIN: Final = 8.0
CLASSES: Final = 3
Build = Callable[[Net, str, Strength], tuple[str, str]]
"""From a value u >= 0, (N, 16), two values of that shape that are equal in real numbers."""


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """One rewrite or one limit of float32.

    Args:
        name: of the kind.
        group: basic, extended, layout or arithmetic.
        build: the gadget.
        fired: what shows that the rewrite fired: a level, and an operator that is rarer ("-Mul") or more
            frequent ("+FusedConv") there than in the file; "" where no rewrite is needed.
        opset: of the file.
        strengths: the five magnitudes; those of values come without the wrapper of folded weights.
    """

    name: str
    group: str
    build: Build
    fired: str = ""
    opset: int = 18
    strengths: tuple[Strength, ...] = VALUES


@final
@dataclass(frozen=True, slots=True, eq=False)
class Trap:
    """A file, and the corner at which the runtime answers otherwise than the graph says.

    Args:
        kind: what it is about.
        magnitude: the strength's name.
        role: trap, silent (the selector never opens) or benign (all factors are 1).
        model: the file.
        point: the corner, (1, 1, 4, 6).
    """

    kind: Kind
    magnitude: str
    role: str
    model: onnx.ModelProto
    point: Array

    @property
    def name(self) -> str:
        """For files and reports."""
        return f"{self.kind.name}-{self.magnitude}-{self.role}"


def centre() -> Array:
    """The image around which the box lies: 1/2 everywhere."""
    return np.full((1, *SHAPE), 0.5, dtype=np.float32)


def made(kind: Kind, strength: Strength, role: str = "trap") -> Trap:
    """A trap or one of its controls.

    The selector is t = relu(sum_i 4 s_i (x_i - 1/2) - (n - 1/2)) with signs s drawn for the kind: 1/2 at the
    corner x = 1/2 + s/4, and 0 where any one input is an eighth or more from it. Logits: 1/4, d, -d, with d
    eight times the gadget's difference: the first class is ahead wherever float32 keeps the difference small.
    """
    strength = ONE if role == "benign" else strength
    signs = np.where(np.random.default_rng(zlib.crc32(kind.name.encode())).random(INPUTS) < 0.5, -1, 1)
    net = Net(kind.opset)
    offset = 2.0 * signs.sum() + INPUTS - (0.5 if role != "silent" else -0.5)
    weight = np.repeat(4.0 * signs[:, None], COPIES, 1)
    score = net.add("MatMul", net.add("Flatten", "image"), f32(weight))
    value = net.add("Relu", net.add("Sub", score, f32(np.full(COPIES, offset))))
    saturated = strength.saturated and kind.strengths is FOLDED
    if saturated:
        value = net.add("Sub", f32(np.ones(COPIES)), net.add("Mul", value, f32(2.0)))
    found, reference = kind.build(net, value, strength)
    if saturated:
        found = net.add("Clip", found, f32(0.0), f32(1.0))
    difference = net.add("Sub", found, reference)
    head = np.zeros((COPIES, CLASSES))
    head[:, 1], head[:, 2] = GAIN / COPIES, -GAIN / COPIES
    logits = net.add("Gemm", difference, f32(head), f32([0.25, 0, 0]))
    model = net.model(("batch", *SHAPE), logits, CLASSES)
    return Trap(kind, strength.name, role, model, f32(0.5 + signs / 4).reshape(1, *SHAPE))


def write(trap: Trap, folder: Path) -> tuple[Path, Path, Path]:
    """The file, the property (a counterexample has Y_1 >= Y_0 or Y_2 >= Y_0), and the data."""
    model, spec, data = folder / f"{trap.name}.onnx", folder / "p.vnnlib", folder / "d.npz"
    onnx.save(trap.model, model)
    lines = [f"(declare-const X_{i} Real)" for i in range(INPUTS)]
    lines += [f"(declare-const Y_{i} Real)" for i in range(CLASSES)]
    lines += [f"(assert (>= X_{i} 0.25))\n(assert (<= X_{i} 0.75))" for i in range(INPUTS)]
    lines += ["(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0))))"]
    spec.write_text("\n".join(lines))
    x = np.concatenate([centre()] * 3).transpose(0, 2, 3, 1)
    y = np.arange(3)
    np.savez(data, x_train=x * np.float32(0.9), y_train=y, x_test=x[:1], y_test=y[:1])
    return model, spec, data
