"""Measures a classifier: clean accuracy, and robust accuracy as the worst case over attacks."""

from harden.evaluation.attempts import Attempt
from harden.evaluation.curve import Curve, accuracy_curve
from harden.evaluation.distances import Distances, minimal_distances
from harden.evaluation.outcome import AttemptRecord, Evaluation, TrustCheck, Witnesses
from harden.evaluation.progress import Phase, Standing
from harden.evaluation.suites import pgd_suite, quick, standard, thorough
from harden.evaluation.worst_case import evaluate

__all__ = [
    "Attempt",
    "AttemptRecord",
    "Curve",
    "Distances",
    "Evaluation",
    "Phase",
    "Standing",
    "TrustCheck",
    "Witnesses",
    "accuracy_curve",
    "evaluate",
    "minimal_distances",
    "pgd_suite",
    "quick",
    "standard",
    "thorough",
]
