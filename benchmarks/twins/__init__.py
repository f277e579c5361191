"""PyTorch twins of tinygen's layers and models: the same computation with the same weights, one file per model."""
