"""How training computes: the memory order of weights, and the number format of passes."""
