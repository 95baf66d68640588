from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta

from harden.certificate import certificate_file
from harden.certificate import schema as s
from harden.certificate.certificate import Certificate


def proportion(count: int, n: int) -> s.ProportionRecord:
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return s.ProportionRecord(value=count / n, count=count, n=n, interval=(low, high), confidence=0.95)


def png(seed: int, size: int) -> str:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _history() -> tuple[s.HistoryPoint, ...]:
    points = []
    for step in range(0, 600, 10):
        points.append(
            s.HistoryPoint(
                stage="pretrain", step=step, passes=step / 6, seconds=step / 10, loss=5 - step / 400
            )
        )
    for step in range(0, 900, 10):
        clean = min(0.98, 0.3 + step / 900) if step % 100 == 0 else None
        robust = min(0.71, 0.1 + step / 1000) if step % 100 == 0 else None
        points.append(
            s.HistoryPoint(
                stage="finetune",
                step=step,
                passes=100 + step / 3,
                seconds=60 + step / 3,
                loss=2.3 * float(np.exp(-step / 300)) + 0.2,
                clean=clean,
                robust=robust,
            )
        )
    return tuple(points)


def _classes(names: tuple[str, ...], n: int, clean: int, robust: int) -> tuple[s.ClassRecord, ...]:
    parts = []
    k = len(names)
    for i, name in enumerate(names):
        size = n // k + (i < n % k)
        parts.append(
            s.ClassRecord(
                label=name,
                n=size,
                clean=proportion(clean // k + (i < clean % k), size),
                robust=proportion(robust // k + (i < robust % k), size),
            )
        )
    return tuple(parts)


def make(
    *,
    names: tuple[str, ...] = tuple("0123456789"),
    pairs: int = 6,
    size: int = 8,
    status: str = "ok",
    images: list[tuple[str, str, str]] | None = None,
    comparison: bool = True,
) -> Certificate:
    n, clean, after_first, robust = 450, 436, 322, 316
    bits = np.zeros((3, n), dtype=bool)
    bits[0, :clean] = True
    bits[1, :robust] = True
    packed = [np.packbits(row).tobytes().hex() for row in bits]
    shown = images or [(png(3 * k, size), png(3 * k + 1, size), png(3 * k + 2, size)) for k in range(pairs)]
    fired = status != "ok"
    predicate = s.Predicate(
        status="unreliable" if fired else "ok",
        threat=s.ThreatRecord(norm="linf", eps="1/10"),
        data=s.DataRecord(
            name="digits",
            digest="ab" * 32,
            n=n,
            image_shape=(1, 8, 8),
            classes=names,
            split="test",
            unseen=None,
        ),
        bracket=s.Bracket(certified=proportion(0, n), robust=proportion(robust, n)),
        clean=proportion(clean, n),
        verdicts=s.Verdicts(certified=0, falsified=n - robust, unknown=robust),
        comparison=s.ComparisonRecord(name="user's CNN", clean=proportion(441, n), robust=proportion(23, n))
        if comparison
        else None,
        attacks=(
            s.AttackRecord(
                name="pgd-50-ce",
                spec={"steps": 50, "restarts": 1, "loss": "cross-entropy"},
                attempted=clean,
                broken=clean - after_first,
                robust=proportion(after_first, n),
                passes=21800,
                seconds=12.3,
            ),
            s.AttackRecord(
                name="pgd-50-margin",
                spec={"steps": 50, "restarts": 5, "loss": "margin"},
                attempted=after_first,
                broken=after_first - robust,
                robust=proportion(robust, n),
                passes=80500,
                seconds=75,
            ),
        ),
        classes=_classes(names, n, clean, robust),
        checks=(
            s.CheckRecord(
                name="large eps",
                value=0.43 if fired else 0.0,
                threshold=0.1,
                passed=not fired,
                meaning="Accuracy has to fall to chance at eps 1/2.",
                action="Look for a gradient that is masked.",
            ),
        ),
        curve=s.CurveRecord(
            attack="pgd-50-ce",
            points=tuple(
                s.CurvePointRecord(eps=e, robust=proportion(k, n))
                for e, k in (
                    ("0", clean),
                    ("1/40", 418),
                    ("1/20", 391),
                    ("1/10", 322),
                    ("3/20", 214),
                    ("1/5", 88),
                )
            ),
        ),
        parity=s.ParityRecord(tolerance=6.1e-5, max_error=3.2e-6, batches=(1, 3, 5)),
        evidence=s.EvidenceRecord(
            witnesses=clean - robust,
            arrays={
                "index": s.ArrayRecord(dtype="int64", shape=(clean - robust,)),
                "label": s.ArrayRecord(dtype="int64", shape=(clean - robust,)),
                "original": s.ArrayRecord(dtype="float32", shape=(clean - robust, 1, 8, 8)),
                "witness": s.ArrayRecord(dtype="float32", shape=(clean - robust, 1, 8, 8)),
            },
        ),
        provenance=s.Provenance(
            created="2026-01-31T12:00:00Z",
            versions={"harden": "0.1.0", "torch": "2.14.1", "onnx": "1.23.2", "onnxruntime": "1.31.1"},
            seeds={"train": 0, "attack": 1},
            recipe={"pretrain": None, "finetune": {"name": "TRADES", "beta": 6}},
            stages=(
                s.StageRecord(
                    name="pretrain",
                    objective={"name": "SimCLR", "temperature": 0.5},
                    passes=134700,
                    epochs_equivalent=100,
                    seconds=60,
                ),
                s.StageRecord(
                    name="finetune",
                    objective={"name": "TRADES", "beta": 6},
                    passes=404100,
                    epochs_equivalent=300,
                    seconds=360,
                ),
            ),
            passes=538800,
            seconds=420,
            backend=s.BackendRecord(name="native", reason="library loaded"),
            device="cpu",
            deterministic=True,
        ),
        bits=s.Bits(n=n, clean_correct=packed[0], robust_correct=packed[1], certified=packed[2]),
        history=_history(),
        gallery=tuple(
            s.WitnessPair(
                index=robust + k,
                label=names[k % len(names)],
                clean_prediction=names[k % len(names)],
                adversarial_prediction=names[(k + 5) % len(names)],
                distance=0.1,
                clean_png=a,
                adversarial_png=b,
                difference_png=c,
            )
            for k, (a, b, c) in enumerate(shown)
        ),
    )
    subjects = (
        s.Subject(name="model.onnx", digest={"sha256": "01" * 32, "graph": "23" * 32}),
        s.Subject(name="evidence.npz", digest={"sha256": "45" * 32}),
    )
    return certificate_file.seal(s.Statement(subject=subjects, predicate=predicate))


@pytest.fixture
def certificate() -> Certificate:
    return make()


@pytest.fixture
def make_certificate() -> Callable[..., Certificate]:
    return make
