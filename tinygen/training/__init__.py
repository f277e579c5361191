"""The training loop, history, checkpoints, exact resume and data parallelism."""

from .callbacks import Callback, CSVLog, EarlyStopping, Event, SampleGrid, TensorBoard
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .fit import fit
from .history import History, Record
from .interrupt import Interrupted
from .run import NonFiniteError
from .shards import sharded

__all__ = [
    "CSVLog", "Callback", "CheckpointError", "EarlyStopping", "Event", "History", "Interrupted", "NonFiniteError",
    "Record", "SampleGrid", "TensorBoard", "fit", "load_checkpoint", "save_checkpoint", "sharded",
]  # fmt: skip
