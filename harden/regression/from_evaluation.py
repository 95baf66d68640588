"""An evaluation of a file as a check of the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harden.certificate.canonical_json import canonical_json, sha256_bytes
from harden.certificate.graph_digest import graph_digest_bytes
from harden.certificate.measurement_records import ThreatRecord
from harden.data import Examples, from_loader, identity
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation
from harden.regression.baseline_records import (
    AttackSetting,
    Check,
    DataSetting,
    Measure,
    ModelDigests,
    Outcome,
    Setting,
)
from harden.system.package_metadata import versions
from harden.threats import Threat

PACKAGES = ("harden", "torch", "onnxruntime", "numpy")


def data_setting(
    images: Examples,
    sample: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> DataSetting:
    """Digest the evaluated images.

    Args:
        images: all of them.
        sample: how many were drawn of the test images, 0 for all.
        mean: of the normalisation that the images go through before the file, if they do.
        std: likewise.
    """
    normalisation = {} if mean is None else {"mean": list(mean), "std": list(std or ())}
    preprocessing = {
        **normalisation,
        "pixels": "float32 in [0, 1]",
        "layout": "NCHW",
        "shape": list(images.image_shape),
        "classes": list(images.classes),
    }
    return DataSetting(
        n=len(images),
        sample=sample,
        images=images.digest(),
        order=str(identity(from_loader(images, 1024))["images"]),
        preprocessing=sha256_bytes(canonical_json(preprocessing)),
    )


def attack_setting(
    suite: str, attempts: Sequence[Attempt], steps: int | None = None, restarts: int | None = None
) -> AttackSetting:
    """Describe a suite: its name, and each attempt in full."""
    attacks = {attempt.name: attempt.describe() for attempt in attempts}
    return AttackSetting.model_validate(
        {"suite": suite, "steps": steps, "restarts": restarts, "attempts": attacks}
    )


def threat_record(threat: Threat) -> ThreatRecord:
    """The record of a threat in a baseline.

    Raises:
        InputError: it is another than an L-inf, L2 or L1 ball of one eps.
    """
    if threat.name not in ("linf", "l2", "l1"):
        raise InputError(f"the threat {threat.name}", "linf, l2 or l1", "gate on one of these")
    return ThreatRecord.model_validate({"norm": threat.name, "eps": str(threat.eps), "bounds": threat.bounds})


def check_of(
    found: Evaluation,
    setting: Setting,
    content: bytes,
    certified: Tensor | None = None,
    *,
    partly: bool = False,
) -> Check:
    """Make a check of what an evaluation found on a file.

    Args:
        found: complete, on the setting's images in their order.
        setting: what it was made with.
        content: of the ONNX file that was attacked.
        certified: which images are proved, bool (n,), where the setting says so. What an attack broke is not
            counted among them.
        partly: take one of the first images alone, with their number in the setting: for `compared_in_part`.

    Raises:
        InputError: the evaluation is not complete.
    """
    if not found.complete and partly:
        data = setting.data.model_copy(update={"n": len(found.labels)})
        setting = setting.model_copy(update={"data": data})
    elif not found.complete:
        raise InputError(
            f"an evaluation of {len(found.labels)} images that left {found.left} out",
            "all images",
            "give it the time that it needs",
        )
    clean, robust = _mask(found.clean_correct), _mask(found.robust_correct)
    outcomes: dict[Measure, Outcome] = {"clean": Outcome.of(clean), "robust": Outcome.of(robust)}
    if certified is not None:
        outcomes["certified"] = Outcome.of(_mask(certified) & robust)
    return Check(
        setting=setting,
        model=ModelDigests(file=sha256_bytes(content), graph=graph_digest_bytes(content)),
        outcomes=outcomes,
        versions=versions(PACKAGES),
    )


def distrusted(found: Evaluation) -> tuple[str, ...]:
    """Say which trust checks fired, each in a sentence; nothing where the number can be believed."""
    return tuple(f"the trust check {check.reason}" for check in found.fired)


def _mask(bits: Tensor) -> NDArray[np.bool_]:
    return np.asarray(bits.cpu().numpy(), dtype=np.bool_)
