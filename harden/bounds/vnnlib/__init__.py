"""VNN-LIB properties: parsing, refutation by bounds, exact checks of counterexamples."""
