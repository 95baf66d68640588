"""Evaluation and certification of ONNX files in deployment, with evidence levels."""

from harden.deployed.certify_file import FileProofs, certify
from harden.deployed.evaluate_file import FileEvaluation, evaluate
from harden.deployed.evidence_level import MEANING, FileAccess

__all__ = ["MEANING", "FileAccess", "FileEvaluation", "FileProofs", "certify", "evaluate"]
