"""Results of an evaluation: per batch, in total, on disk, as JSON."""
