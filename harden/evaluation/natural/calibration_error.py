"""Calibration error: the difference between a network's confidence and its accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError
from harden.statistics import Proportion

BINS = 15  # Guo et al., 1706.04599


@final
@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The examples with confidence in (low, high]; the first bin includes 0.

    Attributes:
        low: lower end, in [0, 1).
        high: upper end.
        n: number of examples.
        total: the sum of their confidences.
        right: number of them that are classified correctly.
    """

    low: float
    high: float
    n: int
    total: float
    right: int

    @property
    def confidence(self) -> float | None:
        """The mean confidence; None in an empty bin."""
        return self.total / self.n if self.n else None

    @property
    def accuracy(self) -> Proportion | None:
        """The share classified correctly, with its exact interval; None in an empty bin."""
        return Proportion(self.right, self.n) if self.n else None


@final
@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence and accuracy, bin by bin.

    An example whose logits are not finite has no confidence. It counts as wrong in `accuracy`, is counted in
    `not_finite`, and is in no bin: `ece` and `brier` are of the n - not_finite others.

    Attributes:
        bins: of equal width, from 0 to 1.
        n: number of examples.
        not_finite: number of them with a logit that is not finite.
        brier: the mean of sum_k (p_k - [y = k])^2, in [0, 2]: a proper score, which the ECE is not.
        square: the mean of (right - confidence)^2, in [0, 1], from which the interval is computed.
    """

    bins: tuple[ReliabilityBin, ...]
    n: int
    not_finite: int
    brier: float
    square: float

    @property
    def accuracy(self) -> Proportion:
        """The share of all n classified correctly, with its exact interval."""
        return Proportion(sum(each.right for each in self.bins), self.n)

    @property
    def ece(self) -> float:
        """The expected calibration error: sum_b (n_b / n) |accuracy_b - confidence_b|, in [0, 1].

        On average it is too large, by up to sqrt(bins / n), and errors that cancel within a bin do not
        contribute (Kumar, Liang, Ma, 1909.10155).

        Source: Guo, Pleiss, Sun, Weinberger, 1706.04599.
        """
        return sum(abs(each.right - each.total) for each in self.bins) / (self.n - self.not_finite)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """An interval for the population's ECE, sum_b |E[(right - confidence) 1_b]|, with the same bins.

        With m examples in M bins, risk a = 1 - confidence and v the mean of (right - confidence)^2:

            high = ece + sqrt(2 log(2 / a) / m)
            low = ece - sqrt(2 log(4 / a) / m) - sqrt(M min(1, v + sqrt(log(4 / a) / (2 m))) / m)

        One example moves the ECE by at most 2 / m, so it is that close to its mean (McDiarmid, 1989); its
        mean is at least the population's value (Jensen), and exceeds it by at most the sum of the bins'
        standard errors, which is the last term (Cauchy and Schwarz; v bounded by Hoeffding's inequality).

        Guarantee: for every m and every distribution, the probability that the interval contains the
        population's value is at least the confidence, if the examples are independent draws. It is wide for
        that: high lies 0.086 above the ECE at m = 1,000. A bootstrap would be narrower and not keep its
        coverage where calibration is good, since there the ECE's error is not symmetric.

        Raises:
            InputError: confidence is outside (0, 1).
        """
        if not 0.0 < confidence < 1.0:
            raise InputError(f"a confidence of {confidence}", "a number in (0, 1)", "write 0.95 for 95 %")
        m, risk = self.n - self.not_finite, 1.0 - confidence
        above = math.sqrt(2 * math.log(2 / risk) / m)
        square = min(1.0, self.square + math.sqrt(math.log(4 / risk) / (2 * m)))
        below = math.sqrt(2 * math.log(4 / risk) / m) + math.sqrt(len(self.bins) * square / m)
        return max(0.0, self.ece - below), min(1.0, self.ece + above)


@final
class Calibration:
    """Accumulates confidences and predictions, in memory that does not grow with the examples.

    Args:
        bins: of equal width.

    Raises:
        InputError: bins is below 1.
    """

    def __init__(self, bins: int = BINS) -> None:
        check_bins(bins)
        self._edges = torch.arange(bins + 1, dtype=torch.float64, device="cpu") / bins
        self._count = torch.zeros(bins, dtype=torch.int64, device="cpu")
        self._right = torch.zeros_like(self._count)
        self._total = torch.zeros_like(self._edges[1:])
        self._n, self._brier, self._square = 0, 0.0, 0.0

    def add(self, logits: Tensor, y: Tensor) -> None:
        """Add examples.

        Args:
            logits: floating (N, K), K >= 2, on any device; N may be 0.
            y: labels, int64 (N,), each in 0..K - 1.

        Raises:
            InputError: shapes or labels differ from the above.
        """
        confidence, right = confidences(logits, y)
        kept = ~confidence.isnan()
        self._n += len(confidence)
        confidence, right = confidence[kept], right[kept]
        # (low, high]: the number of inner edges below it is its bin.
        place = torch.bucketize(confidence, self._edges[1:-1])
        bins = len(self._count)
        self._count += torch.bincount(place, minlength=bins)
        self._right += torch.bincount(place[right], minlength=bins)
        self._total += torch.zeros_like(self._total).index_add_(0, place, confidence)
        self._square += float((right.double() - confidence).square().sum())
        self._brier += _brier(logits.detach().cpu()[kept], y.detach().cpu()[kept])

    def result(self) -> Reliability:
        """The reliability of all examples added so far.

        Raises:
            InputError: nothing was added, or no example had finite logits.
        """
        found = int(self._count.sum())
        if not found:
            seen = "no examples" if not self._n else f"{self._n} examples without finite logits"
            raise InputError(seen, "at least one confidence", "add logits (N, K) and labels (N,)")
        edges = self._edges.tolist()
        columns = zip(
            *(edges[:-1], edges[1:], self._count.tolist(), self._total.tolist(), self._right.tolist()),
            strict=True,
        )
        rows = tuple(ReliabilityBin(*row) for row in columns)
        return Reliability(rows, self._n, self._n - found, self._brier / found, self._square / found)


def confidences(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The confidence max_k softmax(z)_k of each example, and whether its prediction argmax_k z_k is right.

    Computed in float64 on the CPU. Where a logit is not finite the confidence is NaN and the prediction
    wrong.

    Args:
        logits: floating (N, K), K >= 2, on any device.
        y: labels, int64 (N,), each in 0..K - 1.

    Returns:
        confidence, float64 (N,), in [1 / K, 1]; right, bool (N,).

    Raises:
        InputError: shapes or labels differ from the above.
    """
    _check(logits, y)
    z, labels = logits.detach().cpu(), y.detach().cpu()
    finite = z.isfinite().all(1)
    confidence = z.double().softmax(1).amax(1)
    confidence = torch.where(finite, confidence, torch.full_like(confidence, torch.nan))
    return confidence, (z.argmax(1) == labels) & finite


def adaptive_ece(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    """The calibration error over bins of equal mass: as `Reliability.ece`, in [0, 1].

    The m examples are sorted by confidence and split into bins of m / bins of them, up to one; with fewer
    examples than bins, each has its own. Examples of equal confidence share their mean accuracy, so their
    order does not matter. Confidences that are NaN are left out.

    There is no interval: the bins depend on the data, which the proof for `Reliability.interval` excludes.
    Source: Nguyen and O'Connor, 1508.05154.

    Args:
        confidence: floating (N,), in [0, 1] or NaN.
        right: bool (N,).
        bins: number of bins.

    Raises:
        InputError: shapes differ, bins is below 1, a confidence is outside [0, 1], or nothing is left.
    """
    check_bins(bins)
    if confidence.dim() != 1 or confidence.shape != right.shape or right.dtype != torch.bool:
        seen = f"confidence {tuple(confidence.shape)} and right {right.dtype} {tuple(right.shape)}"
        raise InputError(seen, "(N,) numbers and (N,) booleans", "use confidences(logits, y)")
    kept = ~confidence.isnan()
    values, answers = confidence[kept].double().cpu(), right[kept].double().cpu()
    if not len(values):
        raise InputError("no confidences", "at least one", "pass those of at least one finite example")
    if float(values.min()) < 0 or float(values.max()) > 1:
        raise InputError(
            f"confidences from {float(values.min()):.3g} to {float(values.max()):.3g}",
            "probabilities in [0, 1]",
            "pass the largest softmax, not a logit",
        )
    order = values.argsort()
    values, answers = values[order], answers[order]
    _, count = torch.unique_consecutive(values, return_counts=True)
    place = torch.arange(len(count), device="cpu").repeat_interleave(count)
    shared = torch.zeros_like(values[: len(count)]).index_add_(0, place, answers) / count
    gaps = shared[place] - values
    parts = torch.tensor_split(gaps, min(bins, len(gaps)))
    return float(sum(part.sum().abs() for part in parts)) / len(gaps)


def check_bins(bins: int) -> None:
    """Raise InputError unless there is at least one bin."""
    if bins < 1:
        raise InputError(f"{bins} bins", "at least one", f"write bins={BINS}")


def _brier(logits: Tensor, y: Tensor) -> float:
    p = logits.double().softmax(1)
    return float((p - functional.one_hot(y, p.shape[1])).square().sum())


def _check(logits: Tensor, y: Tensor) -> None:
    if logits.dim() != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise InputError(
            f"logits of dtype {logits.dtype} and shape {tuple(logits.shape)}",
            "floats (N, K) of at least two classes",
            "return torch.cat([torch.zeros_like(z), z], 1) for a sigmoid's logit z",
        )
    if y.shape != logits.shape[:1] or y.dtype != torch.int64:
        seen = f"labels of dtype {y.dtype} and shape {tuple(y.shape)} for {len(logits)} examples"
        raise InputError(seen, "an int64 label for each", "pass class numbers, y.long()")
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= logits.shape[1]):
        seen = f"labels {int(y.min())} to {int(y.max())} for {logits.shape[1]} logits"
        instead = "check that model and data have the same classes"
        raise InputError(seen, f"labels 0 to {logits.shape[1] - 1}", instead)
