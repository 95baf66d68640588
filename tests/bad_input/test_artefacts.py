"""Artefacts, certificates and graphs that are missing, damaged or of another kind; images they don't take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import harden
from harden.artefact.runtime.session import Session
from tests.bad_input.table import (
    Row,
    ids,
    pictures,
    refused,
)

ANEW = "pass the folder that harden wrote, or write the certificate again"


def certificate(name: str, seen: str, expected: str = "a certificate", instead: str = ANEW) -> Row:
    return Row(f"load-{name}", lambda _: harden.load(name), seen, expected, instead)


NEWER = "update harden, which reads the certificates of its own version"
LOADED = [
    certificate("gone", "gone cannot be read (No such file or directory)"),
    certificate("empty", "empty/certificate.json cannot be read (No such file or directory)"),
    certificate(
        "without-certificate.json",
        "without-certificate.json/certificate.json cannot be read (No such file or directory)",
    ),
    certificate(
        "cut-certificate.json",
        "cut-certificate.json/certificate.json is not strict JSON (…)",
        "a whole certificate",
    ),
    certificate("list", "list/certificate.json holds list", "a JSON object"),
    certificate(
        "newer",
        "newer/certificate.json of the type 'urn:harden:robustness-certificate:v2'",
        "urn:harden:robustness-certificate:v1",
        NEWER,
    ),
    certificate(
        "foreign",
        "foreign/certificate.json of the type 'https://slsa.dev/provenance/v1'",
        "urn:harden:robustness-certificate:v1",
        ANEW,
    ),
    certificate(
        "odd",
        "odd/certificate.json is not this schema at subject.0 (…)",
        "a certificate of harden's schema v1",
    ),
    certificate(
        "without-model.onnx",
        "no without-model.onnx/model.onnx",
        "a file that the certificate names",
        "export again",
    ),
    certificate(
        "without-evidence.npz",
        "no without-evidence.npz/evidence.npz",
        "a file that the certificate names",
        "export again",
    ),
    certificate(
        "bare.onnx",
        "bare.onnx, an ONNX file",
        "an artefact's folder",
        "pass the folder that harden wrote it to",
    ),
    certificate("good.npz", "good.npz is not strict JSON (…)", "a whole certificate"),
    Row(
        "session-gone",
        lambda _: Session("gone.onnx"),
        "gone.onnx cannot be read (No such file or directory)",
        "an ONNX model",
        "point to an existing file",
    ),
    Row(
        "session-cut",
        lambda _: Session("cut.onnx"),
        "cut.onnx does not load: ONNX content that does not parse (…)",
        "an image classifier's graph in one file",
        "use a model that harden exported",
    ),
    Row(
        "session-text",
        lambda _: Session("text.onnx"),
        "text.onnx does not load: ONNX content that does not parse (…)",
        "an image classifier's graph in one file",
        "use a model that harden exported",
    ),
    Row(
        "session-folder",
        lambda _: Session("whole"),
        "whole cannot be read (Is a directory)",
        "an ONNX model",
        "point to an existing file",
    ),
]


def shipped(name: str, images: Callable[[], object], seen: str, expected: str, instead: str) -> Row:
    return Row(
        f"artefact-{name}",
        lambda _: harden.load("whole")(images()),  # type: ignore[arg-type]
        seen,
        expected,
        instead,
    )


UNIT = "pixels in [0, 1]"
X = pictures().numpy()
SHIPPED = [
    shipped(
        "bytes",
        lambda: (X * 255).astype(np.uint8),
        "images of dtype uint8",
        "float pixels in [0, 1]",
        "divide by 255",
    ),
    shipped("bytes-as-floats", lambda: X * 255, "images with min 0 and max 255", UNIT, "divide by 255"),
    shipped(
        "normalised",
        lambda: (X - 0.1307) / 0.3081,
        "images with min -0.4242 and max 2.821",
        UNIT,
        "drop the normalisation, which is in the graph",
    ),
    shipped(
        "nan",
        lambda: np.where(X == 1, np.nan, X),
        "images with min nan and max nan",
        UNIT,
        "check the data for NaN or infinity",
    ),
    shipped(
        "inf",
        lambda: np.where(X == 1, np.inf, X),
        "images with min 0 and max inf",
        UNIT,
        "check the data for NaN or infinity",
    ),
    shipped(
        "channels-last",
        lambda: X.transpose(0, 2, 3, 1),
        "images of shape (40, 8, 8, 1)",
        "(N, 1, 8, 8)",
        "pass a batch as the model was exported for",
    ),
    shipped(
        "three-channels",
        lambda: X.repeat(3, axis=1),
        "images of shape (40, 3, 8, 8)",
        "(N, 1, 8, 8)",
        "pass a batch as the model was exported for",
    ),
    shipped(
        "one-image",
        lambda: X[0],
        "images of shape (1, 8, 8)",
        "(N, 1, 8, 8)",
        "pass a batch as the model was exported for",
    ),
]


@pytest.mark.parametrize("row", ids([*LOADED, *SHIPPED]))
def test_artefacts(row: Row, stocked: Path) -> None:
    refused(row, stocked)
