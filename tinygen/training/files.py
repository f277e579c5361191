"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one go: whoever reads it, even after a crash, finds the old content or the new, never a part.

    Checked by: tests/training/test_checkpoint.py
    """
    # In the same folder, so that the replacement is one rename; and on the disk before its name is.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
