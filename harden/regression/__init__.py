"""The regression gate: a baseline that is committed, and a verdict that knows what it can't know."""
