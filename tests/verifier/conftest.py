from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import beta

from harden.certificate import canonical_json, certificate_file
from harden.certificate import schema as s

EPS = Fraction(1, 10)
CHECKS = {
    "ball and box": 0.0,
    "zero gradients": 0.05,
    "finite gradients": 0.01,
    "complete optimisation": 0.005,
    "black box beats white box": 0.01,
    "independent attacks": 0.02,
    "one step beats many": 0.005,
    "noise beats the attacks": 0.005,
    "randomised output": 0.0,
    "batch composition": 0.0,
    "softmax saturation": 0.05,
    "unstable predictions": 0.02,
    "eps zero": 0.0,
    "huge eps": 0.0,
    "non-monotone curve": 0.03,
    "logit scale": 0.05,
    "gradient fidelity": 0.1,
    "logit steps": 0.1,
    "distinct logits": 0.5,
}
NAMES = ("cat", "dog", "fox")
SHAPE = (1, 3, 3)
N = 60


def model_proto(seed: int = 0) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(9, 3)).astype(np.float32)
    bias = np.array([0.05, -0.02, 0.0], np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *SHAPE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    initializers = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")]
    graph = helper.make_graph(nodes, "net", [image], [logits], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def proportion(count: int, n: int) -> s.ProportionRecord:
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return s.ProportionRecord(value=count / n, count=count, n=n, interval=(low, high), confidence=0.95)


def nudge(original: npt.NDArray[np.float32], direction: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    witness = np.clip(original + np.float32(0.1) * np.sign(direction), 0, 1).astype(np.float32)
    for i, (o, w) in enumerate(zip(original.flat, witness.flat, strict=True)):
        while abs(Fraction(float(w)) - Fraction(float(o))) > EPS:
            w = np.nextafter(w, o)
        witness.flat[i] = w
    return witness


def predicate(
    clean: npt.NDArray[np.bool_],
    robust: npt.NDArray[np.bool_],
    y: npt.NDArray[np.int64],
    image_shape: tuple[int, int, int] = SHAPE,
    gallery: tuple[s.WitnessPair, ...] = (),
) -> s.Predicate:
    n, lost = len(y), int(clean.sum() - robust.sum())
    hexed = [np.packbits(b).tobytes().hex() for b in (clean, robust, np.zeros(n, bool))]
    kinds = {"index": "int64", "label": "int64", "original": "float32", "witness": "float32"}
    arrays = {
        name: s.ArrayRecord(dtype=kind, shape=(lost,) if kind == "int64" else (lost, *image_shape))
        for name, kind in kinds.items()
    }
    return s.Predicate(
        status="ok",
        threat=s.ThreatRecord(norm="linf", eps="1/10"),
        data=s.DataRecord(
            name="toy",
            digest="0" * 64,
            n=n,
            image_shape=image_shape,
            classes=NAMES,
            split="test",
            unseen=True,
        ),
        bracket=s.Bracket(certified=proportion(0, n), robust=proportion(int(robust.sum()), n)),
        clean=proportion(int(clean.sum()), n),
        verdicts=s.Verdicts(certified=0, falsified=n - int(robust.sum()), unknown=int(robust.sum())),
        comparison=s.ComparisonRecord(name="before", clean=proportion(n, n), robust=proportion(0, n)),
        attacks=(
            s.AttackRecord(
                name="one-step",
                spec={"steps": 1},
                attempted=int(clean.sum()),
                broken=lost,
                robust=proportion(int(robust.sum()), n),
                passes=n,
                seconds=0.1,
            ),
        ),
        checks=tuple(
            s.CheckRecord(name=name, value=0.0, threshold=limit, passed=True, meaning="none", action="none")
            for name, limit in CHECKS.items()
        ),
        classes=tuple(
            s.ClassRecord(
                label=name,
                n=int((y == k).sum()),
                clean=proportion(int(clean[y == k].sum()), int((y == k).sum())),
                robust=proportion(int(robust[y == k].sum()), int((y == k).sum())),
            )
            for k, name in enumerate(NAMES)
            if (y == k).any()
        ),
        curve=s.CurveRecord(
            attack="one-step",
            points=(
                s.CurvePointRecord(eps="0", robust=proportion(int(clean.sum()), n)),
                s.CurvePointRecord(eps="1/10", robust=proportion(int(robust.sum()), n)),
            ),
        ),
        parity=s.ParityRecord(tolerance=1e-5, max_error=1e-6, batches=(1, 3)),
        evidence=s.EvidenceRecord(witnesses=lost, arrays=arrays),
        provenance=s.Provenance(
            created="2026-01-01T00:00:00Z",
            versions={},
            seeds={"all": 0},
            recipe=None,
            stages=(),
            passes=0,
            seconds=1e-5,
            backend=s.BackendRecord(name="plain", reason="test"),
            device="cpu",
            deterministic=True,
        ),
        bits=s.Bits(n=n, clean_correct=hexed[0], robust_correct=hexed[1], certified=hexed[2]),
        gallery=gallery,
    )


def build(folder: Path) -> Path:
    """Writes a small artefact whose every claim holds."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model_proto()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def predict(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        logits: npt.NDArray[np.float32] = session.run(["logits"], {"image": x})[0]
        labels: npt.NDArray[np.int64] = logits.argmax(axis=1)
        return labels

    rng = np.random.default_rng(1)
    x = rng.uniform(size=(N, *SHAPE)).astype(np.float32)
    y = predict(x)
    y[:3] = (y[:3] + 1) % 3
    clean = predict(x) == y
    weight = numpy_helper.to_array(model.graph.initializer[0])
    witness = x.copy()
    robust = clean.copy()
    for i in np.flatnonzero(clean):
        for other in range(3):
            direction = (weight[:, other] - weight[:, y[i]]).reshape(SHAPE)
            tried = nudge(x[i], direction)
            if predict(tried[None])[0] != y[i]:
                witness[i], robust[i] = tried, False
    index = np.flatnonzero(clean & ~robust).astype(np.int64)
    np.savez(folder / "evidence.npz", index=index, label=y[index], original=x[index], witness=witness[index])
    first = int(index[0])
    pair = s.WitnessPair(
        index=first,
        label=NAMES[y[first]],
        clean_prediction=NAMES[y[first]],
        adversarial_prediction=NAMES[int(predict(witness[first][None])[0])],
        distance=float(np.abs(witness[first].astype(float) - x[first]).max()),
        clean_png="AAAA",
        adversarial_png="AAAA",
        difference_png="AAAA",
    )
    certificate_file.write(
        certificate_file.issue(folder, predicate(clean, robust, y, gallery=(pair,))), folder
    )
    return folder


def reseal(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edits a certificate's fields as a forger would: digests and seal are made to fit."""
    path = folder / "certificate.json"
    fields = json.loads(path.read_bytes())
    edit(fields)
    for subject in fields["subject"]:
        subject["digest"]["sha256"] = canonical_json.sha256_file(folder / subject["name"])
    fields["seal"]["sha256"] = canonical_json.seal_of(fields)
    path.write_bytes(canonical_json.render_json(fields))


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return build(tmp_path / "out")


@pytest.fixture
def forge() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    return reseal


@pytest.fixture
def proto() -> onnx.ModelProto:
    return model_proto()
