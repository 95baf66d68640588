"""What the side-by-side benchmarks share: networks, contenders, interleaved timing, provenance."""
