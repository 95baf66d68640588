"""Files, folders, locks and limits of the operating system."""
