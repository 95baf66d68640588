"""Models, data and folders that options name."""
