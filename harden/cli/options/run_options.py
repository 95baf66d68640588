"""What the options of `harden run` say, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """The options of `harden run`, each under the name of its flag."""

    data: str
    out: Path
    model: str = "small"
    weights: Path | None = None
    mean: str = ""
    std: str = ""
    head: str = ""
    output: str = ""
    unlabelled: str = ""
    drop_leaks: bool = False
    norm: str = "linf"
    eps: str = "8/255"
    pretrain: str = "none"
    finetune: str = "trades"
    beta: float = 6.0
    class_weights: str = "none"
    budget: str = "10min"
    lr: float = 1e-3
    attacks: str = "standard"
    prove: str = "none"
    prove_minutes: float | None = None
    evaluate_minutes: float | None = None
    steps: int = 50
    restarts: int = 3
    bfloat16: bool = False
    test_images: int = 0
    batch_size: int = 128
    auto_batch: bool = False
    seed: int = 0
    device: str = "cpu"
    resume: bool = False
    force: bool = False
    checkpoint_every: float = 30.0
    log: tuple[str, ...] = ()
    json_file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None
