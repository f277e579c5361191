"""Kernels equal the reference at every register width and on a generic CPU; each width has its own cached kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# One dtype, so that few kernels are compiled; 35 and 20 channels leave the last vector partly empty.
PROGRAM = """
from itertools import product
import numpy as np
from tinygen import kernels
from tinygen.kernels import reference, tile_loops, winograd
from tinygen.kernels.runtime import tile

rng, taps, size = np.random.default_rng(0), tuple(product((-1, 0, 1), repeat=2)), (7, 7)
x, y = (rng.standard_normal((2, *size, c)).astype(np.float32) for c in (20, 35))
w = rng.standard_normal((9, 20, 35)).astype(np.float32)
for name, args in (
    ("conv", (x, w, taps, 1, size)),
    ("conv_transpose", (y, w, taps, 1, size)),
    ("conv_weight", (x, y, taps, 1)),
):
    # Sums of up to 320 products of order 1, in float32 and in another order.
    np.testing.assert_allclose(getattr(kernels, name)(*args), getattr(reference, name)(*args), rtol=1e-5, atol=1e-4)
x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 16, 16, 64), (9, 64, 64)))
for name, args in ("conv", (x, w, taps, 1, (16, 16))), ("conv_weight", (x, x, taps, 1)):  # by Winograd's algorithm
    np.testing.assert_allclose(getattr(kernels, name)(*args), getattr(reference, name)(*args), rtol=1e-4, atol=1e-3)
compiled = tile_loops.convolve, tile_loops.correlate, winograd._convolve, winograd._correlate
hits = min(sum(kernel.stats.cache_hits.values()) for kernel in compiled)
print(tile.VECTOR_BYTES, "hits" if hits else "misses")
"""


def run(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_kernels_equal_the_reference_at_every_width_and_have_separate_caches(tmp_path: Path) -> None:
    for width in "16", "32", "16":
        result = run(tmp_path, TINYGEN_VECTOR_BYTES=width)
        assert result.returncode == 0, result.stderr
        again = (tmp_path / width).exists()
        assert result.stdout.split() == [width, "hits" if again else "misses"]
        (tmp_path / width).touch()


def test_kernels_run_on_a_cpu_without_wide_registers(tmp_path: Path) -> None:
    """LLVM lowers what the CPU lacks to simpler instructions: wide registers, masked loads, fused multiply-adds."""
    result = run(tmp_path, NUMBA_CPU_NAME="generic")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("value", ["8", "128", "wide", ""])
def test_rejects_other_widths(tmp_path: Path, value: str) -> None:
    result = run(tmp_path, TINYGEN_VECTOR_BYTES=value)
    assert f"ValueError: TINYGEN_VECTOR_BYTES: expected 16, 32 or 64, got {value!r}" in result.stderr
