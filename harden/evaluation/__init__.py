"""Measurement of clean accuracy, and of robust accuracy as the worst case over attacks."""

from harden.evaluation.attempt import Attempt
from harden.evaluation.natural.calibration_error import Calibration, Reliability, adaptive_ece, confidences
from harden.evaluation.natural.corruptions import (
    Corruption,
    CorruptionRecord,
    accuracy_under_corruptions,
    corrupted,
    mean_accuracy,
)
from harden.evaluation.natural.measure_calibration import CalibrationRecord, calibration_of
from harden.evaluation.natural.operating_point import (
    OperatingPoint,
    at_threshold,
    operating_point,
    thresholded,
)
from harden.evaluation.progress import EvaluationProgress, Phase
from harden.evaluation.results.evaluation_report import EvaluationReport
from harden.evaluation.results.result import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.evaluation.robust_accuracy import evaluate
from harden.evaluation.suite_definitions import pgd_suite, quick, standard, thorough
from harden.evaluation.sweeps.accuracy_curve import AccuracyCurve, accuracy_curve
from harden.evaluation.sweeps.certified_radii import RadiusSearch
from harden.evaluation.sweeps.eps_sweep import robustness_curve
from harden.evaluation.sweeps.minimal_distances import Distances, minimal_distances

__all__ = [
    "AccuracyCurve",
    "Attempt",
    "AttemptRecord",
    "Calibration",
    "CalibrationRecord",
    "Corruption",
    "CorruptionRecord",
    "Distances",
    "Evaluation",
    "EvaluationProgress",
    "EvaluationReport",
    "OperatingPoint",
    "Phase",
    "RadiusSearch",
    "Reliability",
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
