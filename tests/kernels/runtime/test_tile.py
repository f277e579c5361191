"""Kernels equal the reference at every register width and on a generic CPU; each width has its own cached kernels.

The loops over tiles are compiled as they are written.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from tinygen.kernels import gemm, tile_loops
from tinygen.kernels.plans import Strides
from tinygen.kernels.runtime.parts import new_team
from tinygen.kernels.runtime.registers import TILE_ROWS

# One dtype, so that few kernels are compiled; 35 and 20 channels leave the last vector partly empty.
PROGRAM = """
import itertools
import numpy as np
from tinygen import kernels
from tinygen.kernels import gemm, reference, tile_loops, winograd
from tinygen.kernels.product import product
from tinygen.kernels.runtime import registers

rng, taps, size = np.random.default_rng(0), tuple(itertools.product((-1, 0, 1), repeat=2)), (7, 7)
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
x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((300, 64), (64, 70)))
np.testing.assert_allclose(product(x, w), x @ w, rtol=1e-5, atol=1e-4)
compiled = gemm._multiply, tile_loops.convolve, tile_loops.correlate, winograd._convolve, winograd._correlate
hits = min(sum(kernel.stats.cache_hits.values()) for kernel in compiled)
print(registers.VECTOR_BYTES, "hits" if hits else "misses")
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


def calls(kernel: Any, intrinsic: str, *arguments: Any) -> int:
    """Compile a kernel again, as one from the cache has no LLVM code, and count the calls of an intrinsic."""
    options = {name: kernel.targetoptions[name] for name in ("error_model", "fastmath", "nogil")}
    again = numba.njit(**options)(kernel.py_func)
    again(*arguments)
    bodies = again.inspect_llvm(again.signatures[0]).split("\ndefine ")  # wrappers may contain an inlined copy
    return max(sum("call" in line and f"@llvm.{intrinsic}" in line for line in body.splitlines()) for body in bodies)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the tile needs the JIT")
def test_loops_over_tiles_are_not_unrolled() -> None:
    """A second step needs registers that hold the tile: with AVX2, it would be stored to memory and loaded again."""
    rows = TILE_ROWS[0]
    a, b, y = np.ones((rows, 3)), np.ones((3, 40)), np.empty((rows, 40))
    arguments = (0,) * rows, (0, 0), a, False, b, False, np.empty(0), np.zeros(40), False, y, True, new_team(1), 1
    assert calls(gemm._multiply, "fmuladd", *arguments) == 2 * rows
    assert calls(tile_loops._prefetch_block, "prefetch", np.ones(8), 0, Strides(*[1] * 8), 2, 2, 2, 1) == 1
