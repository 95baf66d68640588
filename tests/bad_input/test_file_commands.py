"""Files that are missing, damaged or of another kind, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.table import (
    FAST,
    RUN,
    Answer,
    check_line,
    listing,
)

SAVEZ = "write it with np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"
WHOLE = "an npz file of plain arrays, complete"
LAYOUT = "lay files out as DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"
ANEW = "pass the folder that harden wrote, or write the certificate again"
OTHER_OUT = "write another --out, or empty the folder"


NEWER = "update harden, which reads the certificates of its own version"
SAFE = "a safetensors file, whole"
PICKLE = "save it with safetensors.torch.save_file; a pickle is not read, a damaged file not repaired"
COMMANDS = [
    ("run --data npz:cut.npz", f"npz:cut.npz: unreadable (not a zip archive); expected {WHOLE}; {SAVEZ}"),
    ("run --weights pickle.pt", f"pickle.pt (…); expected {SAFE}; {PICKLE}"),
    ("run --weights pickle.safetensors", f"pickle.safetensors (…); expected {SAFE}; {PICKLE}"),
    ("run --weights cut.safetensors", f"cut.safetensors (…); expected {SAFE}; {PICKLE}"),
    ("run --weights empty.safetensors", f"empty.safetensors (…); expected {SAFE}; {PICKLE}"),
    (
        "run --weights gone.safetensors",
        "no gone.safetensors; expected a safetensors file with weights; point to an existing file",
    ),
    (
        "run --weights full",
        "full: Is a directory; expected a safetensors file with weights; point to a file that can be read",
    ),
    (
        "run --weights classifier.safetensors",
        "classifier.safetensors does not fit the network at […]: '0.weight' is in the network alone; "
        "expected weights of this very network; name the network they were saved from: --model",
    ),
    (
        "run --model no-weights",
        "no no-weights/checkpoint/weights.safetensors; expected a safetensors file with weights; "
        "point to an existing file",
    ),
    ("run --model cut-weights", f"cut-weights/checkpoint/weights.safetensors (…); expected {SAFE}; {PICKLE}"),
    (
        "run --model other-network",
        "other-network/checkpoint/weights.safetensors does not fit the network at […]: 'network.0.weight' "
        "has shape (3, 3) in the file, (16, 1, 3, 3) in the network; "
        "expected weights of this very network; name the network they were saved from: --model",
    ),
    (
        "run --model no-model",
        "no no-model/checkpoint/model.json; expected the folder of a `harden run`; point to one",
    ),
    (
        "run --model cut-model",
        "cut-model/checkpoint/model.json (…); expected what `harden run` wrote; run again; it is damaged",
    ),
    (
        "run --model bare.onnx",
        "bare.onnx, a bare ONNX file; expected a network whose weights can be trained; point to its run's "
        "folder, or use `harden evaluate`, which takes a file",
    ),
    ("run --out full", f"full holds ['thesis.tex']; expected an empty folder or an artefact; {OTHER_OUT}"),
    ("run --out /proc/out", f"/proc/out: …; expected a folder that can be written; {OTHER_OUT}"),
    (
        "run --data folder:one-class",
        f"one-class: 1 folders; expected one folder for each of at least two classes; {LAYOUT}",
    ),
    (
        "report cut-certificate.json",
        f"cut-certificate.json/certificate.json is not strict JSON (…); expected a whole certificate; {ANEW}",
    ),
    (
        "report newer",
        "newer/certificate.json of the type 'urn:harden:robustness-certificate:v2'; "
        f"expected urn:harden:robustness-certificate:v1; {NEWER}",
    ),
    (
        "report bare.onnx",
        "bare.onnx, an ONNX file; expected an artefact's folder; pass the folder that harden wrote it to",
    ),
    (
        "verify bare.onnx",
        "bare.onnx is not a folder; expected a folder that harden wrote; pass the artefact's folder",
    ),
    ("verify gone", "gone is not a folder; expected a folder that harden wrote; pass the artefact's folder"),
    (
        "verify empty",
        "no certificate.json in empty; expected a folder that harden wrote; pass the artefact's folder",
    ),
]


@pytest.mark.parametrize(("words", "line"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_files_on_the_command_line(
    words: str, line: str, stocked: Path, command: Callable[..., Answer]
) -> None:
    before = listing(stocked)
    first, *rest = words.split()
    usual = ("--data", "npz:good.npz", *RUN, *FAST) if first == "run" else ()
    seen, _, others = line.partition("; expected ")
    expected, _, instead = others.partition("; ")
    answer = command(first, *usual, *rest)
    if first == "verify":
        answer = Answer(answer.code, answer.out, answer.err.replace("harden verify: ", "harden: ", 1))
    check_line(answer, seen, expected, instead, stocked)
    assert listing(stocked) == before
