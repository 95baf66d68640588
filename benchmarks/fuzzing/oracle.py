"""Classification of content that was read: unmutated, another valid one, or neither; by code of its own."""

from __future__ import annotations

import inspect
import io
import json
import math
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.runtime.session import Session
from harden.cli.app import app
from harden.cli.options.config_file import options_of
from harden.data import Splits


class DefectError(Exception):
    """An input that is neither refused nor valid."""


def arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def splits(found: Splits, good: Splits) -> str:
    """Images in range and labels among the classes: all that a data set without a digest can be held to."""
    for part in (found.train, found.test):
        n, *shape = part.x.shape
        if (
            part.x.dtype not in (torch.uint8, torch.uint16, torch.float32)
            or len(shape) != 3
            or 0 in part.x.shape
        ):
            raise DefectError(f"images {part.x.dtype} {tuple(part.x.shape)}")
        if part.x.dtype == torch.float32 and not bool(((part.x >= 0) & (part.x <= 1)).all()):
            raise DefectError("pixels outside [0, 1]")
        if (
            part.y.dtype != torch.int64
            or part.y.shape != (n,)
            or not 0 <= int(part.y.min()) <= int(part.y.max())
        ):
            raise DefectError(f"labels {part.y.dtype} {tuple(part.y.shape)}")
        if int(part.y.max()) >= len(part.classes) or not all(isinstance(name, str) for name in part.classes):
            raise DefectError(f"labels up to {int(part.y.max())} with classes {part.classes}")
    pairs = ((found.train, good.train), (found.test, good.test))
    same = all(_same(a.x, b.x) and _same(a.y, b.y) and a.classes == b.classes for a, b in pairs)
    return "same" if same else "variant"


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.numpy().tobytes() == other.numpy().tobytes()


def certificate(made: bytes, good: bytes) -> str:
    """A verified certificate in other words is valid where every count and the threat are the old ones."""
    new, old = (json.loads(data)["predicate"] for data in (made, good))
    for field in ("status", "bracket", "clean", "verdicts", "bits", "evidence"):
        if not _near(new[field], old[field]):
            raise DefectError(f"verified with another {field}")
    if new["data"]["n"] != old["data"]["n"] or new["threat"]["norm"] != old["threat"]["norm"]:
        raise DefectError("verified with other images or another norm")
    # Without the curve, a larger ball holds the same witnesses: a weaker claim, and a true one.
    if Fraction(new["threat"]["eps"]) < Fraction(old["threat"]["eps"]):
        raise DefectError("verified with a smaller eps")
    return "variant"


def _near(new: Any, old: Any) -> bool:
    """Equal, but for the 1e-9 in probability that the verifier leaves an interval's limits and confidence."""
    if isinstance(new, dict) and isinstance(old, dict):
        return new.keys() == old.keys() and all(_near(new[key], old[key]) for key in new)
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(_near, new, old))
    if isinstance(new, float) and isinstance(old, float):
        return abs(new - old) <= 1e-8
    return bool(new == old)


def evidence(made: bytes, good: dict[str, NDArray[Any]], predicate: dict[str, Any], session: Session) -> str:
    """Verified witnesses are of their types, in the box, in the ball as fractions, and break the file."""
    new = arrays(made)
    if any(new[name].dtype != good[name].dtype or new[name].shape != good[name].shape for name in good):
        raise DefectError("verified with arrays of other types or shapes")
    if all(new[name].tobytes() == good[name].tobytes() for name in good):
        return "same"
    if sorted(new["index"].tolist()) != sorted(good["index"].tolist()):
        raise DefectError("verified with witnesses of other images")
    eps, slack = Fraction(predicate["threat"]["eps"]), 2 * predicate["parity"]["tolerance"]
    for before, after in zip(new["original"].ravel().tolist(), new["witness"].ravel().tolist(), strict=True):
        if not (math.isfinite(before) and math.isfinite(after) and 0 <= before <= 1 and 0 <= after <= 1):
            raise DefectError("verified with a pixel outside the box")
        if abs(Fraction(after) - Fraction(before)) > eps:
            raise DefectError("verified with a witness outside the ball")
    for name, sign in (("original", 1), ("witness", -1)):
        logits = session(new[name]).astype(float)
        rows, label = np.arange(len(logits)), new["label"]
        own = logits[rows, label].copy()
        logits[rows, label] = -np.inf
        if (sign * (own - logits.max(1)) < -slack).any():
            raise DefectError(f"verified with a {name} that is not judged so")
    return "variant"


def shapes(session: Session) -> None:
    """Check that the attributes of a session have the types of their annotations."""
    sizes = (*session.image_shape, session.classes)
    if len(sizes) != 4 or not all(type(size) is int and size > 0 for size in sizes):
        raise DefectError(f"a session of shape {session.image_shape} and {session.classes!r} classes")


def state(found: dict[str, Tensor], good: dict[str, Tensor]) -> str:
    """Weights have the network's names, types and shapes; their values are the user's."""
    for name, value in good.items():
        if found[name].dtype != value.dtype or found[name].shape != value.shape:
            raise DefectError(f"weights {name} of {found[name].dtype} {tuple(found[name].shape)}")
    return "same" if all(_same(found[name], value) for name, value in good.items()) else "variant"


def config(path: Path, good: str) -> str:
    """Options from a file are of the types that the command line gives them."""
    commands = {str(one.name or one.callback.__name__): inspect.unwrap(one.callback) for one in _COMMANDS}
    found = options_of(path, "run", commands)
    kinds = {"seed": (int,), "beta": (int, float)}
    for name, value in found.items():
        if type(value) not in kinds.get(name, (str,)):
            raise DefectError(f"the option {name} as {value!r:.80}")
    return "same" if found == tomllib.loads(good) else "variant"


_COMMANDS: list[Any] = [one for one in app.registered_commands if one.callback is not None]
