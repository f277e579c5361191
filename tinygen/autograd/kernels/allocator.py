"""Keep freed memory for the next step instead of handing it back to the system.

A training step allocates the same large arrays as the step before. The C library returns them to the system when they are
freed at the end of a step, and the system clears every page anew when it is touched again: a fifth of the time of a
Gated PixelCNN's training step (benchmarks/allocator.py). One call of glibc's `mallopt` changes that for this process.

Checked by: tests/autograd/kernels/test_allocator.py
"""

from __future__ import annotations

import ctypes

# Names and values from glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory(limit: int = 1 << 30) -> bool:
    """Let the process keep up to `limit` bytes that it has freed. Returns whether the C library understood.

    Arrays of up to 32 MiB then come from the kept memory; larger ones are mapped and unmapped one by one, as before.
    Does nothing where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; TypeError is Windows' for CDLL(None)
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 32 << 20) and mallopt(_M_TRIM_THRESHOLD, limit))
