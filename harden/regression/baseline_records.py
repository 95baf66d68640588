"""The fields of robustness-baseline.json. Never an image: counts, one bit an image, digests, versions."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, model_validator

from harden.certificate.measurement_records import (
    Count,
    FrozenRecord,
    Hex256,
    Positive,
    ProportionRecord,
    ThreatRecord,
)
from harden.description import JSON
from harden.regression.packed_bits import packed, unpacked
from harden.statistics import Proportion

SCHEMA: Final = "urn:harden:robustness-baseline:v1"

Rows = tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{2,64}$")], ...]
Measure = Literal["clean", "robust", "certified"]
Text = Annotated[str, Field(min_length=1)]


class AttackSetting(FrozenRecord):
    """The suite by its name, and what it came to: each attempt's description.

    `steps` and `restarts` are those of `pgd`, and null for a suite that has its own.
    """

    suite: Literal["pgd", "quick", "standard", "thorough"]
    steps: Positive | None = None
    restarts: Positive | None = None
    attempts: Annotated[dict[str, dict[str, JsonValue]], Field(min_length=1)]


class DataSetting(FrozenRecord):
    """Which images, in which order, and how they come to the file.

    `images`: digest of pixels and labels whatever their order; `order`: in their order, by which seeds and
    bits go; `preprocessing`: of shape, layout, range and class names; `sample`: of how many test images the
    fixed sample is, 0 for all.
    """

    n: Positive
    sample: Count
    images: Hex256
    order: Hex256
    preprocessing: Hex256


class Setting(FrozenRecord):
    """All that two results have to share before they may be compared.

    `evidence`: A where attacks used the file's own gradients, C where they queried it for scores alone.
    """

    threat: ThreatRecord
    attacks: AttackSetting
    data: DataSetting
    seed: Count
    certified: bool = False
    evidence: Literal["A", "C"] = "A"


class ModelDigests(FrozenRecord):
    """The file: `file` its bytes, `graph` what it computes, whatever way it is encoded."""

    file: Hex256
    graph: Hex256


class Outcome(FrozenRecord):
    """One accuracy with its exact interval, and the images it counts; see `harden.regression.packed_bits`."""

    accuracy: ProportionRecord
    correct: Rows

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Self:
        """Count and pack a mask (n,)."""
        accuracy = ProportionRecord.of(Proportion(int(mask.sum()), len(mask)))
        return cls(accuracy=accuracy, correct=packed(mask))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which images: bool (n,)."""
        return unpacked(self.correct, self.accuracy.n)

    @model_validator(mode="after")
    def _counts_its_bits(self) -> Self:
        if int(self.mask.sum()) != self.accuracy.count:
            raise ValueError(f"{int(self.mask.sum())} bits set; expected the count, {self.accuracy.count}")
        return self


class Accepted(FrozenRecord):
    """A step down that somebody took on purpose: why, and the counts before and after."""

    reason: Text
    before: dict[str, ProportionRecord]
    after: dict[str, ProportionRecord]


class Check(FrozenRecord):
    """What was measured on one file under one threat, and what it was measured with.

    `label` distinguishes the models of one baseline: empty for the one of the command line, a test's name for
    one that a test checks.
    """

    label: str = ""
    setting: Setting
    model: ModelDigests
    outcomes: dict[Measure, Outcome]
    versions: dict[str, str]
    accepted: tuple[Accepted, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wanted = {"clean", "robust"} | ({"certified"} if self.setting.certified else set())
        if set(self.outcomes) != wanted:
            raise ValueError(f"outcomes {sorted(self.outcomes)}; expected {sorted(wanted)}")
        for name, outcome in self.outcomes.items():
            if outcome.accuracy.n != self.setting.data.n:
                raise ValueError(f"{name} of {outcome.accuracy.n} images; expected {self.setting.data.n}")
        clean, robust = self.outcomes["clean"].mask, self.outcomes["robust"].mask
        if bool((robust & ~clean).any()):
            raise ValueError("images that are robust and not clean; expected robust to imply clean")
        return self

    @property
    def name(self) -> str:
        """Label, threat and suite, by which a baseline knows the check."""
        threat, attacks = self.setting.threat, self.setting.attacks
        known = f"{threat.norm} {threat.eps} {attacks.suite}"
        return f"{self.label}: {known}" if self.label else known


class Baseline(FrozenRecord):
    """The whole file: each check by its name."""

    schema_: Literal["urn:harden:robustness-baseline:v1"] = Field(default=SCHEMA, alias="schema")
    checks: dict[str, Check]

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name, check in self.checks.items():
            if name != check.name:
                raise ValueError(f"{name!r} holds {check.name!r}; expected each check under its own name")
        return self


def described(model: FrozenRecord) -> dict[str, JSON]:
    """A record as JSON."""
    found: dict[str, JSON] = model.model_dump(mode="json", by_alias=True)
    return found
