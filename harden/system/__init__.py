"""Files, folders, locks and resource limits."""
