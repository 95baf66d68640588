"""Trust checks: signs that an attack is too weak for its number to be believed."""
