"""A reverse-mode automatic differentiation engine on NumPy."""
