"""Files that a user may point to: good ones, damaged ones, and others of another kind."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from harden.certificate.canonical_json import render_json, seal_of
from harden.cli import main
from tests.bad_input.table import (
    FAST,
    RUN,
    classes,
    pictures,
)


def stock(place: Path) -> None:
    """Write a run's folder, data, and all that can be wrong with either."""
    _data(place)
    words = ("run", "--data", f"npz:{place}/good.npz", *RUN, *FAST, "--out", place / "whole")
    assert main([str(word) for word in words]) == 0
    _artefacts(place)
    _weights(place)


def _data(place: Path) -> None:
    x, y = pictures().permute(0, 2, 3, 1).numpy(), classes().numpy()
    parts = {"x_train": x, "y_train": y, "x_test": x[:20] / 2, "y_test": y[:20]}
    np.savez(place / "good.npz", **parts)  # type: ignore[arg-type]
    whole = (place / "good.npz").read_bytes()
    (place / "cut.npz").write_bytes(whole[:-50])
    (place / "flipped.npz").write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
    (place / "empty.npz").write_bytes(b"")
    (place / "text.npz").write_text("x_train,y_train\n")
    np.savez(place / "objects.npz", **{**parts, "x_train": np.array([{"a": 1}] * 40)})  # type: ignore[arg-type]
    (place / "pickled.npz").write_bytes(pickle.dumps(parts))
    with zipfile.ZipFile(place / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    np.save(place / "one.npy", x)
    (place / "folder.npz").mkdir()
    (place / "no-classes").mkdir()
    (place / "one-class" / "cat").mkdir(parents=True)
    (place / "no-images" / "cat").mkdir(parents=True)
    (place / "no-images" / "dog").mkdir()
    for name in ("cat", "dog"):
        (place / "damaged" / name).mkdir(parents=True)
        (place / "damaged" / name / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def _artefacts(place: Path) -> None:
    whole = place / "whole"
    for name in ("model.onnx", "evidence.npz", "certificate.json"):
        folder = Path(shutil.copytree(whole, place / f"without-{name}"))
        (folder / name).unlink()
        folder = Path(shutil.copytree(whole, place / f"cut-{name}"))
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    fields = json.loads((whole / "certificate.json").read_bytes())
    for name, key, value in (
        ("newer", "predicateType", "urn:harden:robustness-certificate:v2"),
        ("foreign", "predicateType", "https://slsa.dev/provenance/v1"),
        ("odd", "subject", []),
    ):
        changed = {**fields, key: value}
        folder = Path(shutil.copytree(whole, place / name))
        (folder / "certificate.json").write_bytes(
            render_json({**changed, "seal": {"sha256": seal_of(changed)}})
        )
    (place / "list").mkdir()
    (place / "list" / "certificate.json").write_text("[1, 2]\n")
    (place / "bare.onnx").write_bytes((whole / "model.onnx").read_bytes())
    (place / "cut.onnx").write_bytes((whole / "model.onnx").read_bytes()[:1000])
    (place / "text.onnx").write_text("not a graph\n")
    (place / "empty").mkdir()
    (place / "full").mkdir()
    (place / "full" / "thesis.tex").write_text("years")


def _weights(place: Path) -> None:
    stored = place / "whole" / "checkpoint" / "weights.safetensors"
    content = stored.read_bytes()
    other = save({"network.0.weight": torch.zeros(3, 3)})
    (place / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (place / "empty.safetensors").write_bytes(b"")
    torch.save({"weight": torch.zeros(3)}, place / "pickle.pt")
    (place / "pickle.safetensors").write_bytes((place / "pickle.pt").read_bytes())
    (place / "classifier.safetensors").write_bytes(content)
    damages: dict[str, Callable[[Path], object]] = {
        "no-weights": lambda folder: (folder / "weights.safetensors").unlink(),
        "cut-weights": lambda folder: (folder / "weights.safetensors").write_bytes(content[:500]),
        "other-network": lambda folder: (folder / "weights.safetensors").write_bytes(other),
        "no-model": lambda folder: (folder / "model.json").unlink(),
        "cut-model": lambda folder: (folder / "model.json").write_text('{"spec": "sm'),
    }
    for name, damage in damages.items():
        damage(Path(shutil.copytree(place / "whole", place / name)) / "checkpoint")
