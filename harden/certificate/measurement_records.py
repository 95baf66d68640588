"""Records of measurements: proportions with intervals, the threat, attacks, bits, the bracket.

Every record is frozen and refuses unknown fields. Contradictions within one record are refused here; those
between several (sums, recounts, witnesses) are checked by `harden.verifier`, which shares no code with these.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictBool, model_validator

if TYPE_CHECKING:
    from harden.statistics import Proportion  # needs scipy, which a reader of certificates does without


def _fraction(text: str) -> str:
    if not re.fullmatch(r"(0|[1-9]\d{0,39})(/[1-9]\d{0,39})?", text, re.ASCII):
        raise ValueError(f"eps is {text!r}; expected a fraction; write it like '8/255' or '0'")
    return text


Count = Annotated[int, Field(ge=0, le=2**64)]
Positive = Annotated[int, Field(ge=1, le=2**64)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Eps = Annotated[str, AfterValidator(_fraction)]
Png = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class FrozenRecord(BaseModel):
    """A frozen record that refuses unknown fields and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ProportionRecord(FrozenRecord):
    """`count` of `n` images, with the exact (Clopper-Pearson) interval of the underlying rate.

    value = count / n; the interval covers the true rate with probability >= confidence. `harden.statistics`
    computes the interval, the verifier recomputes it. Every JSON document of harden writes proportions so.
    """

    value: Share
    count: Count
    n: Positive
    interval: tuple[Share, Share]
    confidence: Annotated[float, Field(gt=0, lt=1)]

    @classmethod
    def of(cls, proportion: Proportion) -> Self:
        """The record of a proportion."""
        return cls(
            value=proportion.value,
            count=proportion.count,
            n=proportion.n,
            interval=proportion.interval,
            confidence=proportion.confidence,
        )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.count > self.n or self.value != self.count / self.n:
            raise ValueError(
                f"value {self.value} is not {self.count}/{self.n}; write value=count/n, 0<=count<=n"
            )
        low, high = self.interval
        if not low <= self.value <= high:
            raise ValueError(
                f"interval [{low}, {high}] leaves out {self.value}; pass the Clopper-Pearson interval"
            )
        return self


class ThreatRecord(FrozenRecord):
    """The threat model: {x' : ||x' - x||_norm <= eps, bounds[0] <= x' <= bounds[1]}, pixels in [0, 1]."""

    norm: Literal["linf", "l2", "l1"]
    eps: Eps
    bounds: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _is_a_ball(self) -> Self:
        if Fraction(self.eps) <= 0 or self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"eps {self.eps} in {self.bounds} is empty; expected eps > 0 and low < high")
        return self


class DataRecord(FrozenRecord):
    """The evaluated images: `n` of `image_shape` (C, H, W) from `split`; label k is named `classes[k]`.

    `unseen` is true where they were compared with the training images and none equals one of those, pixel by
    pixel; null where they were not compared.
    """

    name: str
    digest: Hex256
    n: Positive
    image_shape: tuple[Positive, Positive, Positive]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    split: str
    unseen: StrictBool | None


class AttackRecord(FrozenRecord):
    """One attack, in the order in which they ran.

    `attempted` images were attacked; it broke `broken` that were predicted right and unbroken by every attack
    before. `robust` is the accuracy after it, on all n. `passes` is a plain count.
    """

    name: str
    spec: dict[str, JsonValue]
    attempted: Count
    broken: Count
    robust: ProportionRecord
    passes: Amount
    seconds: Amount

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if not self.broken <= self.attempted <= self.robust.n:
            raise ValueError(
                f"broken {self.broken}, attempted {self.attempted}; expected broken <= attempted <= n"
            )
        return self


class Bits(FrozenRecord):
    """One bit per image, packed: the hex string of `numpy.packbits` (big-endian, padded with zeros).

    certified implies robust_correct implies clean_correct, image by image.
    """

    n: Positive
    clean_correct: str
    robust_correct: str
    certified: str

    @model_validator(mode="after")
    def _are_nested(self) -> Self:
        words: list[int] = []
        for name in ("clean_correct", "robust_correct", "certified"):
            text: str = getattr(self, name)
            if not re.fullmatch(r"([0-9a-f]{2})+", text) or len(text) != 2 * ((self.n + 7) // 8):
                raise ValueError(
                    f"{name} does not hold {self.n} bits; write numpy.packbits(bits).tobytes().hex()"
                )
            words.append(int(text, 16))
            if words[-1] & ((1 << (-self.n % 8)) - 1):
                raise ValueError(
                    f"{name} has bits beyond {self.n}; write numpy.packbits(bits).tobytes().hex()"
                )
        if words[1] & ~words[0] or words[2] & ~words[1]:
            raise ValueError("bits are not nested; expected certified <= robust_correct <= clean_correct")
        return self


class Verdicts(FrozenRecord):
    """Images per verdict: falsified = not robust_correct, certified = proved, unknown = the rest."""

    certified: Count
    falsified: Count
    unknown: Count


class Bracket(FrozenRecord):
    """The headline: [certified accuracy, a lower bound by proof; robust accuracy, an upper bound by attack].

    `method` names the proof; None means that none was attempted, so that every unbroken image is `unknown`.
    """

    certified: ProportionRecord
    robust: ProportionRecord
    method: str | None = None

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.certified.n != self.robust.n or self.certified.count > self.robust.count:
            raise ValueError("the bracket is upside down; expected certified <= robust on the same n images")
        if self.method is None and self.certified.count:
            raise ValueError(f"{self.certified.count} certified without a method; name the method of proof")
        return self


class ProofPoint(FrozenRecord):
    """Certified accuracy at radius `eps`: the share of all images that are proved there."""

    eps: Eps
    certified: ProportionRecord


class ComparedRecord(FrozenRecord):
    """The runtime that a proof was compared with, at points of its regions.

    `sessions` are its levels of graph optimisation and numbers of threads, `graphs` the distinct graphs that
    they execute; the proof is about each of them.
    """

    build: str
    sessions: Annotated[tuple[str, ...], Field(min_length=1)]
    graphs: Positive


class ProofRecord(FrozenRecord):
    """Certified accuracy by `method`, with its `settings`, at the radii that were tried, in increasing order.

    A proof at a radius holds within it. `complete` is false where time was up before all images were tried.
    """

    method: str
    settings: dict[str, JsonValue]
    points: Annotated[tuple[ProofPoint, ...], Field(min_length=1)]
    complete: bool
    compared: ComparedRecord
    seconds: Amount

    @model_validator(mode="after")
    def _falls(self) -> Self:
        for one, other in pairwise(self.points):
            if Fraction(one.eps) >= Fraction(other.eps) or one.certified.count < other.certified.count:
                raise ValueError(f"certified accuracy rises from radius {one.eps} to {other.eps}")
        return self


class ClassRecord(FrozenRecord):
    """One class that has images; `label` is its name. Classes without images are left out."""

    label: str
    n: Positive
    clean: ProportionRecord
    robust: ProportionRecord


class CurvePointRecord(FrozenRecord):
    """Accuracy under the curve's attack at `eps`; eps "0" is clean accuracy."""

    eps: Eps
    robust: ProportionRecord


class CurveRecord(FrozenRecord):
    """Accuracy over eps under one `attack`, by increasing eps."""

    attack: str
    points: Annotated[tuple[CurvePointRecord, ...], Field(min_length=1)]
