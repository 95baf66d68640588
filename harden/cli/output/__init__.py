"""What the commands print, and their exit codes."""
