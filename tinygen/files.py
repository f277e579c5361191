"""Files that are whole or not there.

Checked by: tests/test_files.py
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: str | Path, content: bytes) -> None:
    """Replace a file in one go: whoever reads it, even after a crash, finds the old content or the new, never a part.

    Several threads or processes may do so at once: the last one wins. Raises OSError, nothing left behind, if it fails.
    """
    path = Path(path)
    # In the same folder, so that the replacement is one rename; opened plainly, so that the umask sets who may read it.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before its name is
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
