"""Measures a classifier: clean accuracy, and robust accuracy as the worst case over attacks."""

from harden.evaluation.attempts import Attempt
from harden.evaluation.calibrated import CalibrationRecord, calibration_of
from harden.evaluation.calibration import Calibration, Reliability, adaptive_ece, confidences
from harden.evaluation.corruptions import (
    Corruption,
    CorruptionRecord,
    accuracy_under_corruptions,
    corrupted,
    mean_accuracy,
)
from harden.evaluation.curve import Curve, accuracy_curve
from harden.evaluation.decision import OperatingPoint, at_threshold, operating_point, thresholded
from harden.evaluation.distances import Distances, minimal_distances
from harden.evaluation.ladder import robustness_curve
from harden.evaluation.outcome import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.evaluation.progress import Phase, Standing
from harden.evaluation.report import Report
from harden.evaluation.suites import pgd_suite, quick, standard, thorough
from harden.evaluation.worst_case import evaluate

__all__ = [
    "Attempt",
    "AttemptRecord",
    "Calibration",
    "CalibrationRecord",
    "Corruption",
    "CorruptionRecord",
    "Curve",
    "Distances",
    "Evaluation",
    "OperatingPoint",
    "Phase",
    "Reliability",
    "Report",
    "Standing",
    "TrustCheck",
    "Witnesses",
    "accuracy_curve",
    "accuracy_under_corruptions",
    "adaptive_ece",
    "at_threshold",
    "calibration_of",
    "confidences",
    "corrupted",
    "evaluate",
    "mean_accuracy",
    "minimal_distances",
    "operating_point",
    "pgd_suite",
    "quick",
    "robustness_curve",
    "standard",
    "thorough",
    "thresholded",
]
