"""Mutated inputs for every file that harden reads: see `benchmarks.stress_fuzz`."""
