"""Networks from which attacks are transferred."""
