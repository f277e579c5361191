"""Generative models from scratch: autodiff on NumPy, convolutions in Numba, every claim a test that can fail."""
