"""IDX, the file format of MNIST.

Checked by: tests/data/test_images.py
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def decode_idx(content: bytes) -> NDArray[np.uint8]:
    """Decode a gzipped IDX file of unsigned bytes.

        0, 0, type, d  |  d big-endian uint32 sizes  |  prod(sizes) values, the last axis fastest

    Shapes: the result has the d sizes of the header.
    Raises ValueError if the content is not gzip, not IDX, not of type 8 (unsigned bytes), or has the wrong length.
    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
    """
    try:
        raw = gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"not a complete gzip file: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise ValueError(f"not an IDX file: expected two zero bytes, the type and the rank, got {raw[:4]!r}")
    kind, rank = raw[2:4]
    if kind != 8:
        raise ValueError(f"IDX type: expected unsigned bytes (type 8), got type {kind}")
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"IDX header: expected {start} bytes for rank {rank}, got {len(raw)}")
    shape = struct.unpack(f">{rank}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise ValueError(f"IDX values: expected {math.prod(shape)} for shape {shape}, got {len(raw) - start}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
