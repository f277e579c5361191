"""Training: the loop, its history, and checkpoints to go on from exactly."""

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .fit import NonFiniteError, fit
from .history import History, Record
from .shards import sharded

__all__ = [
    "CheckpointError",
    "History",
    "NonFiniteError",
    "Record",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "sharded",
]
