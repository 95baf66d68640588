"""The parity gate of an export."""
