"""Bounds of what an ONNX file computes over a region of inputs, true of its float32 arithmetic."""

from harden.bounds.branch_and_bound.prove_regions import Branching
from harden.bounds.certification import Method, Proofs, certify
from harden.bounds.crown.alpha import SlopeAscent
from harden.bounds.program import Program
from harden.bounds.region import Region

__all__ = ["Branching", "Method", "Program", "Proofs", "Region", "SlopeAscent", "certify"]
