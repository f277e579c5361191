"""Numba kernels on arrays: the convolution family and the gate, and the one thread pool they share."""
