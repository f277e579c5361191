"""Atomic file replacement, and imports of optional dependencies.

Checked by: tests/test_files.py
"""

import importlib
import os
import secrets
from pathlib import Path
from typing import Any


def write_atomically(path: str | Path, content: bytes) -> None:
    """Replace a file so that readers, even after a crash, see either the old or the new content.

    Safe for concurrent writers: the last one wins. Raises OSError if writing fails, without leaving a partial file.
    """
    path = Path(path)
    # In the same folder, so that `replace` is an atomic rename; opened normally, so that the umask applies.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content must be on disk before the rename
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def import_optional(module: str, purpose: str) -> Any:
    """Import a module of the `examples` extra. Raises ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs {module}; install it with: pip install -e ".[examples]"') from error
