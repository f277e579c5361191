"""The training loop, history, checkpoints, exact resume and data parallelism."""

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .fit import fit
from .history import History, Record
from .interrupt import Interrupted
from .run import NonFiniteError
from .shards import sharded

__all__ = [
    "CheckpointError", "History", "Interrupted", "NonFiniteError", "Record", "fit", "load_checkpoint",
    "save_checkpoint", "sharded",
]  # fmt: skip
