"""Keep freed memory for the next step instead of handing it back to the system.

A training step allocates the same large arrays as the step before. The C library returns them to the system when they
are freed at the end of a step, and the system clears every page anew when it is touched again: a fifth of the time of a
Gated PixelCNN's training step (`python -m benchmarks.allocator`). glibc's `mallopt` changes that for the whole process.

Checked by: tests/kernels/runtime/test_allocator.py
"""

from __future__ import annotations

import ctypes
import os

# Names and values from glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Let the process keep up to TINYGEN_KEEP_MEMORY MiB (1024 if not set) that it has freed. Returns whether it does.

    Arrays of up to 32 MiB then come from the kept memory; larger ones are mapped and unmapped one by one, as before.
    0 leaves the C library as it is, and nothing changes where it is not glibc.
    Raises ValueError if TINYGEN_KEEP_MEMORY is not a whole number of at least 0.
    """
    wanted = os.environ.get("TINYGEN_KEEP_MEMORY", "1024")
    if not wanted.isdecimal():
        raise ValueError(f"TINYGEN_KEEP_MEMORY must be a whole number of MiB, at least 0, got {wanted!r}")
    if int(wanted) == 0:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; TypeError is Windows' for CDLL(None)
        return False
    limit = min(int(wanted) << 20, 2**31 - 1)  # mallopt takes a C int
    return bool(mallopt(_M_MMAP_THRESHOLD, 32 << 20) and mallopt(_M_TRIM_THRESHOLD, limit))
