"""Bounds of what an ONNX file computes over a region of inputs, true of its float32 arithmetic."""

from harden.bounds.branching import Branching
from harden.bounds.certification import Method, Proofs, certify
from harden.bounds.program import Program
from harden.bounds.region import Region
from harden.bounds.slopes import Climb

__all__ = ["Branching", "Climb", "Method", "Program", "Proofs", "Region", "certify"]
