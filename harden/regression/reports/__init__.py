"""A verdict as text, JSON, JUnit XML and GitHub annotations."""
