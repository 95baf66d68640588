"""Reading of evidence.npz, and its comparison with the certificate's bits and threat model."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from harden.verifier.ball_membership import Images, distances, membership_problems
from harden.verifier.findings import CERTIFICATE, EVIDENCE, CheckFinding, finding
from harden.verifier.recount import ImageFlags

_DTYPES: Final = {"index": "int64", "label": "int64", "original": "float32", "witness": "float32"}
_HEADER: Final = 4096
"""Upper limit of the bytes of an .npy header."""
_LARGEST_IMAGE: Final = 2**24
"""Most values of an image, as of 4096 x 4096 pixels; one is allocated even without a witness."""
_UNPACKED: Final = 256 * 2**20
_RATIO: Final = 100
"""Largest compression ratio beyond _UNPACKED bytes; deflate compresses zeros by a thousand."""


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """M witnesses: position in the evaluated set, label, the image (C, H, W) and the input that breaks it."""

    index: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    original: Images
    witness: Images


def load(data: bytes, predicate: dict[str, Any]) -> Evidence:
    """Reads the arrays and checks each against the type and shape that the certificate lists.

    Raises:
        ValueError: the content is not the arrays that the certificate lists.
    """
    stored, count = predicate["evidence"], predicate["evidence"]["witnesses"]
    image = tuple(predicate["data"]["image_shape"])
    if math.prod(image) > _LARGEST_IMAGE:
        raise ValueError(f"the certificate is about images {image}, expected at most {_LARGEST_IMAGE} values")
    shapes = {"index": (count,), "label": (count,), "original": (count, *image), "witness": (count, *image)}
    listed = {name: (a["dtype"], tuple(a["shape"])) for name, a in stored["arrays"].items()}
    expected = {name: (_DTYPES[name], shapes[name]) for name in _DTYPES}
    if listed != expected:
        raise ValueError(f"the certificate lists {listed}, expected {expected}")
    _check_members(data, expected)
    arrays: dict[str, Any] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        for name, (dtype, shape) in expected.items():
            array = file[name]
            if (array.dtype, array.shape) != (np.dtype(dtype).newbyteorder("<"), shape):
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {dtype} {shape}")
            arrays[name] = array
    return Evidence(**arrays)


def _check_members(data: bytes, expected: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != sorted(f"{name}.npy" for name in expected):
        raise ValueError(f"it holds {names}, expected the arrays {sorted(expected)} once each")
    for member in members:  # before anything is unpacked: a small file may claim to hold a huge array
        dtype, shape = expected[member.filename.removesuffix(".npy")]
        size = int(np.dtype(dtype).itemsize) * math.prod(shape)
        if not size < member.file_size <= size + _HEADER:
            raise ValueError(f"{member.filename} holds {member.file_size} bytes, expected {size}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_UNPACKED, _RATIO * len(data)):
        raise ValueError(f"{len(data)} bytes would unpack to {unpacked}")


def check_evidence(evidence: Evidence, predicate: dict[str, Any], flags: ImageFlags) -> list[CheckFinding]:
    """Compares the witnesses with the bits, the classes, the threat model and the gallery."""
    count, threat = len(evidence.index), predicate["threat"]
    ball = f"{count} witnesses are in the box and within {threat['eps']} in {threat['norm']}, exactly"
    problems = membership_problems(evidence.original, evidence.witness, threat, evidence.index)
    return [
        finding(
            "witnesses",
            EVIDENCE,
            _coverage(evidence, predicate, flags),
            f"each of {count} images that were predicted right and broken has one",
        ),
        finding("ball", EVIDENCE, problems, ball),
        finding(
            "gallery",
            CERTIFICATE,
            _gallery(evidence, predicate),
            "labels and distances are those of stored witnesses (pictures are not compared)",
        ),
    ]


def _coverage(evidence: Evidence, predicate: dict[str, Any], flags: ImageFlags) -> Iterator[str]:
    broken = set(np.flatnonzero(flags.clean & ~flags.robust).tolist())
    found = evidence.index.tolist()
    if len(set(found)) != len(found):
        yield "an image has two witnesses"
    if missing := sorted(broken - set(found)):
        yield f"{len(missing)} falsified images have no witness, the first is {missing[0]}"
    if extra := sorted(set(found) - broken):
        yield f"{len(extra)} witnesses are for images that no bit calls broken, the first is {extra[0]}"
    names = predicate["data"]["classes"]
    if ((evidence.label < 0) | (evidence.label >= len(names))).any():
        yield f"a label is not among the {len(names)} classes"
        return
    lost = {c["label"]: c["clean"]["count"] - c["robust"]["count"] for c in predicate["classes"]}
    counts = np.bincount(evidence.label, minlength=len(names)).tolist()
    for name, count in zip(names, counts, strict=True):
        if lost.get(name, 0) != count:
            yield f"class {name!r} lost {lost.get(name, 0)} images, {count} witnesses have its label"


def _gallery(evidence: Evidence, predicate: dict[str, Any]) -> Iterator[str]:
    names, norm = predicate["data"]["classes"], predicate["threat"]["norm"]
    positions = {image: position for position, image in enumerate(evidence.index.tolist())}
    for pair in predicate["gallery"]:
        where = f"the pair of image {pair['index']}"
        position = positions.get(pair["index"])
        if position is None:
            yield f"{where} has no stored witness"
            continue
        label = int(evidence.label[position])
        if not 0 <= label < len(names) or pair["label"] != names[label]:
            yield f"{where} is labelled {pair['label']!r}, the evidence says class {label}"
        one = slice(position, position + 1)
        distance = float(distances(evidence.original[one], evidence.witness[one], norm)[0])
        if abs(pair["distance"] - distance) > 1e-4 * max(distance, 1e-4):
            yield f"{where} says distance {pair['distance']}, the evidence {distance}"
