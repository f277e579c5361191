"""Networks that models take as arguments: for couplings of flows, and for images."""
