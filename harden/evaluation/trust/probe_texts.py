"""Names, thresholds and texts of the probes, as written to certificates."""

from __future__ import annotations

from enum import Enum
from typing import final

from harden.evaluation.results.result import TrustCheck


@final
class Probe(Enum):
    """A probe's name.

    Thresholds are 0 where one image is a proof: of randomness, of a verdict that depends on other images, of
    an attack that succeeds at eps 0, of one that fails where a random image succeeds. The others compare
    quantities with random variation: a share of 0.02 to 0.05, and at least 3 images (of 128 images 3 are
    0.023); 0.1 of the lines between images, which is 0 for networks without masking; half of the logits.
    """

    RANDOMISED = "randomised output"
    COMPOSITION = "batch composition"
    SATURATION = "softmax saturation"
    UNSTABLE = "unstable predictions"
    ZERO = "eps zero"
    HUGE = "huge eps"
    CURVE = "non-monotone curve"
    SCALE = "logit scale"
    FIDELITY = "gradient fidelity"
    STEPS = "logit steps"
    VALUES = "distinct logits"


_TEXTS: dict[Probe, tuple[float, str, str]] = {
    Probe.RANDOMISED: (
        0.0,
        "share of the first images whose logits differ by more than rounding in a second forward",
        "remove randomness (dropout that stays on, random resizing or noise) from the network's forward",
    ),
    Probe.COMPOSITION: (
        0.0,
        "share of the first images whose logits depend on the other images in the batch",
        "use stored statistics: eval() mode, BatchNorm with track_running_stats=True",
    ),
    Probe.SATURATION: (
        0.05,
        "share of correctly classified images on which the softmax underflows to zero gradient",
        "divide the logits by a temperature, or train with weight decay or label smoothing",
    ),
    Probe.UNSTABLE: (
        0.02,
        "share of correctly classified images whose class or logits jump when each pixel moves by 2^-12",
        "remove quantisation or steps whose thresholds lie on the data's own pixel values",
    ),
    Probe.ZERO: (
        0.0,
        "share of correctly classified images that an attack with eps 0 breaks",
        "remove randomness and state from the network's forward, or report a threat that moves images",
    ),
    Probe.HUGE: (
        0.0,
        "accuracy beyond chance that PGD leaves with an eps as wide as the box: the attack does not work",
        "remove what hides the gradient (rounding, clamping, steps without slope), or attack its smooth form",
    ),
    Probe.CURVE: (
        0.03,
        "share by which accuracy under PGD rises with eps, from half of it to its double",
        "use more steps and restarts; find what masks the gradient",
    ),
    Probe.SCALE: (
        0.05,
        "share of correctly classified images that PGD breaks after all attacks, once logits are rescaled",
        "divide the logits by a temperature, and attack the margin or DLR, which do not saturate",
    ),
    Probe.FIDELITY: (
        0.1,
        "share of lines between images on which the gradient does not add up to the margin's difference",
        "attack what the gradient leaves out: the network before one-hot, rounded or ranked logits",
    ),
    Probe.STEPS: (
        0.1,
        "share of lines between images on which two of 17 steps hold four fifths of the logits' change",
        "attack the logits before they are rounded, ranked or saturated",
    ),
    Probe.VALUES: (
        0.5,
        "share of the first images whose logits are those of another image, but for one image of each value",
        "attack the logits before they are rounded or ranked: scores that repeat give no direction",
    ),
}


def check(
    probe: Probe, count: float, n: int, none: str = "none of the first images is classified correctly"
) -> TrustCheck:
    """The trust check of a probe: the share count / n, or 0 with the reason `none` where n is 0."""
    threshold, meaning, action = _TEXTS[probe]
    if n == 0:
        meaning += f" (not probed: {none})"
    else:
        meaning += f", {count:.3g} of {n}"
    return TrustCheck(probe.value, count / max(n, 1), threshold, meaning, action)
