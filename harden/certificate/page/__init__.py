"""The HTML page of a certificate."""
