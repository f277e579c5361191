"""Atomic file replacement, .npz files from untrusted sources, and imports of optional dependencies.

Checked by: tests/test_files.py
"""

import glob
import importlib
import io
import math
import os
import secrets
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .autograd import Array

try:
    import fcntl
except ImportError:  # Windows, where a file in use cannot be removed
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: str | Path, content: bytes) -> None:
    """Replace a file so that readers, even after a crash, see either the old or the new content.

    Safe for concurrent writers: the last one wins. If path is a symbolic link, the file that it points to is replaced.
    Partial files that killed writers have left are removed.

    Raises: OSError if writing fails, without leaving a partial file.
    """
    path = Path(path).resolve()
    _remove_partial_files(path)
    partial, file = _create_partial_file(path)
    try:
        with file:
            with suppress(OSError):  # there is no file to replace, or no permissions on this file system
                shutil.copymode(path, partial)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content must be on disk before the rename
            if fcntl:
                partial.replace(path)  # while it is locked, so that no other writer removes it
        if not fcntl:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _create_partial_file(path: Path) -> tuple[Path, BinaryIO]:
    """Create a file next to `path`, which is locked as long as it is open: `replace` is then an atomic rename."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        file = partial.open("xb")  # unlike those of `tempfile`, its permissions follow the umask
        with suppress(OSError):  # some network file systems have no locks
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
        if partial.exists():
            return partial, file
        file.close()  # another writer removed it before it was locked


def _remove_partial_files(path: Path) -> None:
    """Remove the partial files of writers that were killed, which are not locked."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}"):
        with suppress(OSError), partial.open("rb") as file:  # locked, or already removed
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def read_npz(content: bytes, max_bytes: int) -> dict[str, Array]:
    """Return the arrays of an .npz file by name, without executing anything in it.

    Args:
        max_bytes: limit for the arrays. It is compared with the sizes that the file claims before reading: a few
            megabytes of compressed data can claim, and fill, any amount of memory.

    Raises: various exceptions if the file is damaged, has other content, or exceeds the limit.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > max_bytes:
            raise ValueError(f"expected at most {max_bytes:,} bytes of arrays, got {claimed:,}")
        # np.load would confuse arrays named "w" and "w.npy".
        return {member.filename.removesuffix(".npy"): _read_npy(archive, member) for member in members}


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    try:
        content = archive.read(member)  # reading all of it verifies the checksum
    except zipfile.BadZipFile as error:
        raise ValueError(f"checksum of {member.filename} is wrong ({error})") from error
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.kind not in "fiub" or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{member.filename}: expected numbers, {dtype} of shape {shape}, got {len(content)} bytes")
    return np.ndarray(shape, dtype, content, file.tell(), order="F" if is_fortran else "C").copy()


def import_optional(module: str, purpose: str, extra: str = "examples") -> Any:
    """Import a module of an extra in setup.cfg. Raises ImportError with the command that installs the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs {module}; install it with: pip install -e ".[{extra}]"') from error
