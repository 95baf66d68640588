"""Printed output of the commands, and their exit codes."""
