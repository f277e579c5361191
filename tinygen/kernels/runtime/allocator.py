"""Keep freed memory in the process for the next training step.

A training step allocates the same large arrays as the step before. The C library returns them to the system when they
are freed, and the system clears every page again at its next use: a fifth of the time of a Gated PixelCNN step
(`python -m benchmarks.allocator`). glibc's `mallopt` changes that for the whole process; `fit` calls it.

Checked by: tests/kernels/runtime/test_allocator.py
"""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's <malloc.h>


def keep_freed_memory() -> bool:
    """Let the process keep freed memory, and return whether it does.

    The environment variable TINYGEN_KEEP_MEMORY limits what is kept, in MiB (default 1024); 0 disables it. Arrays of up
    to 32 MiB are served from this memory; larger ones are mapped and unmapped one by one. Only glibc supports it.

    Raises: ValueError if TINYGEN_KEEP_MEMORY is not a non-negative integer.
    """
    wanted = os.environ.get("TINYGEN_KEEP_MEMORY", "1024")
    if not wanted.isdecimal():
        raise ValueError(f"TINYGEN_KEEP_MEMORY: expected a non-negative integer (MiB), got {wanted!r}")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; on Windows CDLL(None) raises TypeError
        return False
    limit = min(int(wanted) << 20, 2**31 - 1)  # mallopt takes a C int
    return limit > 0 and bool(mallopt(_M_MMAP_THRESHOLD, 32 << 20) and mallopt(_M_TRIM_THRESHOLD, limit))
