"""Measures a classifier: clean accuracy, and robust accuracy as the worst case over attacks."""

from harden.evaluation.attempts import Attempt, pgd_suite
from harden.evaluation.curve import Curve, accuracy_curve
from harden.evaluation.decision import OperatingPoint, at_threshold, operating_point, thresholded
from harden.evaluation.outcome import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.evaluation.progress import Phase, Standing
from harden.evaluation.worst_case import evaluate

__all__ = [
    "Attempt",
    "AttemptRecord",
    "Curve",
    "Evaluation",
    "OperatingPoint",
    "Phase",
    "Standing",
    "TrustCheck",
    "Witnesses",
    "accuracy_curve",
    "at_threshold",
    "evaluate",
    "operating_point",
    "pgd_suite",
    "thresholded",
]
