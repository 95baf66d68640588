"""A check of a baseline, made by hand, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from harden.certificate.measurement_records import ThreatRecord
from harden.regression.baseline_records import (
    AttackSetting,
    Check,
    DataSetting,
    ModelDigests,
    Outcome,
    Setting,
)

N = 300


DATA = {"n": N, "sample": 0, "images": "a" * 64, "order": "b" * 64, "preprocessing": "c" * 64}


def setting(eps: str = "8/255", seed: int = 0, **data: Any) -> Setting:
    """A setting of `quick`; `data` replaces fields of the images' digests."""
    return Setting(
        threat=ThreatRecord(norm="linf", eps=eps),
        attacks=AttackSetting(suite="quick", attempts={"apgd-ce": {"steps": 30}}),
        data=DataSetting.model_validate({**DATA, **data}),
        seed=seed,
    )


def check(robust: int = 150, clean: int = 280, **more: Any) -> Check:
    """A check of N images of which the first so many are robust and clean; `more`: setting, versions."""
    bits = np.arange(N)
    return Check(
        setting=more.pop("setting", setting()),
        model=ModelDigests(file="d" * 64, graph="e" * 64),
        outcomes={"clean": Outcome.of(bits < clean), "robust": Outcome.of(bits < robust)},
        versions=more.pop("versions", {"harden": "0.1.0"}),
    )
