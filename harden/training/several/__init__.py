"""Training in several processes: parts of batches, and statistics of whole ones."""
