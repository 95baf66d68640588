"""A loaded artefact: a callable that refuses to run when a file differs from its digest; without torch."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from harden.artefact.runtime.session import Session
from harden.artefact.runtime.session_memory import limit_arena
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.certificate import Certificate
from harden.certificate.certificate_file import read
from harden.certificate.schema import EVIDENCE_FILE, MODEL_FILE
from harden.errors import BrokenClaimError, InputError
from harden.printable_text import one_line
from harden.system.atomic_files import read_bytes
from harden.system.size_limits import EVIDENCE_BYTES, MODEL_BYTES

_MOST = {MODEL_FILE: MODEL_BYTES, EVIDENCE_FILE: EVIDENCE_BYTES}
_TOLERANCE = 1e-4
_OVERSHOOT = 0.5


@final
class Artefact:
    """A hardened model as deployed: `artefact(images) -> logits`, computed by onnxruntime.

    Attributes:
        folder: of the files.
        certificate: the claims about the file and how they were obtained.
        content: the bytes of model.onnx that agreed with their digest; these are executed, even if the file
            on disk changes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.certificate: Certificate = read(self.folder)
        names = sorted(subject.name for subject in self.certificate.subject)
        if names != [EVIDENCE_FILE, MODEL_FILE]:
            raise InputError(
                f"a certificate in {self.folder} of {' and '.join(names)}",
                f"one of {EVIDENCE_FILE} and {MODEL_FILE}",
                "export again",
            )
        self.content = b""
        for subject in self.certificate.subject:
            path = self.folder / subject.name
            if not path.is_file():
                raise InputError(f"no {path}", "a file that the certificate names", "export again")
            content = _read(path)
            if subject.name == MODEL_FILE:
                self.content = content
            found = sha256_bytes(content)
            if found != subject.digest["sha256"]:
                raise BrokenClaimError(
                    f"{path} with sha256 {found[:16]}...",
                    f"{subject.digest['sha256'][:16]}... as certified",
                    "restore the file that was certified, or export and certify anew",
                )

    @cached_property
    def session(self) -> Session:
        """The file in onnxruntime, after it has run on an image in a limited process.

        The folder may be untrusted, and the seal of its certificate with it. The limits are those of
        `evaluate FILE.onnx`: first `harden.certificate.untrusted.trial_load`, then at most
        `size_limits.RUNTIME_BYTES` for the tensors of all such sessions in this process.

        Raises:
            InputError: the file is no graph that harden exports, or exceeds a limit.
        """
        limit_arena()
        return Session(self.content, name=str(self.folder / MODEL_FILE), tried=True)

    def __call__(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W), floating, with pixels in [0, 1].

        Raises:
            InputError: it is no array, the pixels leave [0, 1], the shape is another, or the file exceeds a
                limit (`Artefact.session`).
        """
        try:
            images = np.asarray(x)
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:  # ragged lists; tensors with gradients, on devices
            raise InputError(
                f"images that are no array ({one_line(str(error))[:160]})",
                "a numpy array (N, C, H, W)",
                "write x.detach().cpu().numpy() of a tensor, and bring all images to one size",
            ) from error
        if not np.issubdtype(images.dtype, np.floating):
            raise InputError(f"images of dtype {images.dtype}", "float pixels in [0, 1]", "divide by 255")
        if images.size and not (images.min() >= -_TOLERANCE and images.max() <= 1 + _TOLERANCE):
            low, high = float(images.min()), float(images.max())
            seen = f"images with min {low:.4g} and max {high:.4g}"
            raise InputError(seen, "pixels in [0, 1]", _likely_fix(low, high))
        return self.session(images.astype(np.float32))

    def __str__(self) -> str:
        return f"{one_line(str(self.folder))}\n{self.certificate}"


def _likely_fix(low: float, high: float) -> str:
    # As in harden.check_pixels, which needs torch; here the normalisation is in the file.
    if not (math.isfinite(low) and math.isfinite(high)):
        return "check the data for NaN or infinity"
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return "resampling overshoots: write x.clip(0, 1)"
    if low < 0:
        return "drop the normalisation, which is in the graph"
    top = next((top for top in (255, 65535) if high <= top), None)
    return f"divide by {top}" if top else "rescale to [0, 1] by the range of your sensor"


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, _MOST[path.name])
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "a readable file", "check its permissions"
        ) from error


def load(folder: str | Path) -> Artefact:
    """Read an artefact, after a check of its certificate's seal and its files' digests.

    Nothing is executed before the first images, or `Artefact.session`, and then within limits.

    Raises:
        BrokenClaimError: a file differs from its digest.
        InputError: the folder is no artefact.
    """
    return Artefact(folder)
