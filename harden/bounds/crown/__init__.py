"""Linear relaxation: CROWN, its optimised slopes and its interval form."""
