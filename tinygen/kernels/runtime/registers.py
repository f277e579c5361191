"""The SIMD registers of this CPU, and the size of the tiles that fit into them (tile.py).

Checked by: tests/kernels/runtime/test_tile.py
"""

import os
import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np


def _bytes_per_vector() -> int:
    """Return the width of a SIMD register: TINYGEN_VECTOR_BYTES, else the widest that this CPU has."""
    wanted = os.environ.get("TINYGEN_VECTOR_BYTES")
    if wanted is not None:
        if wanted not in ("16", "32", "64"):
            raise ValueError(f"TINYGEN_VECTOR_BYTES: expected 16, 32 or 64, got {wanted!r}")
        return int(wanted)
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


VECTOR_BYTES = _bytes_per_vector()
# Rows of a tile of two vectors, largest first. It needs 2 registers per row, 2 for the operand vectors and 1 for the
# broadcast scalar: 6 rows fill 16 registers (AVX2, SSE); 32 (AVX-512, AArch64) hold 14, no faster than 8 on a Xeon.
TILE_ROWS = (8, 7, 4, 1) if VECTOR_BYTES == 64 or platform.machine() in ("aarch64", "arm64") else (6, 5, 4, 1)
# Size of a row of the n × n square that `transpose` transposes. Shuffles of wider registers are slower on AVX-512.
SQUARE_BYTES = min(VECTOR_BYTES, 32)
CACHE_LINE = 64  # bytes


def lanes(dtype: np.dtype[Any]) -> int:
    """Return the number of elements of this dtype in one SIMD register."""
    return VECTOR_BYTES // dtype.itemsize
