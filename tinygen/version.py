"""The version of the package, which checkpoints record. It imports nothing, so every module may import it."""

__version__ = "0.1.0"
