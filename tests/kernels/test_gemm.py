"""The matrix product by register tiles equals NumPy's, for all shapes, memory layouts and numbers of threads."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import gemm, reference
from tinygen.kernels.runtime.parts import new_team
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.kernels.runtime.tile import TILE_ROWS

Array = np.ndarray[Any, Any]
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "slice": lambda x: np.repeat(x, 2, 1)[:, ::2],
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide the products of these tests among threads, and their rows into several chunks."""
    monkeypatch.setattr(gemm, "GRAIN", 1)
    before = get_num_threads()
    yield
    set_num_threads(before)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(1, 100)),
    layouts=st.tuples(st.sampled_from([*LAYOUTS]), st.sampled_from([*LAYOUTS])),
    dtype=st.sampled_from([np.float32, np.float64]),
    with_residual=st.booleans(),
    rectify=st.booleans(),
)
def test_equals_numpy_with_the_same_bits_for_any_number_of_threads(
    shape: tuple[int, int, int], layouts: tuple[str, str], dtype: Any, with_residual: bool, rectify: bool
) -> None:
    (m, k, n), rng = shape, np.random.default_rng(0)
    a, b, bias, residual = (rng.standard_normal(size).astype(dtype) for size in ((m, k), (k, n), (n,), (m, n)))
    left, right = LAYOUTS[layouts[0]](a), LAYOUTS[layouts[1]](b)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        y = np.full((m, n), np.nan, dtype)
        gemm.multiply_into(y, left, right, (residual.reshape(-1) if with_residual else residual[:0, 0], bias), rectify)
        results.append(y)
    expected = reference.product(a, b, bias, rectify, residual if with_residual else None)
    np.testing.assert_allclose(results[0], expected, rtol=0, atol=50 * k * float(np.finfo(dtype).eps))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("shape", [(3000, 50, 40), (40, 2000, 300), (700, 1000, 16)])
def test_many_rows_pass_over_the_blocks_in_chunks(shape: tuple[int, int, int]) -> None:
    (m, k, n), rng = shape, np.random.default_rng(0)
    a, b, y = rng.standard_normal((m, k)), rng.standard_normal((k, n)), np.full((m, n), np.nan)
    for threads in (1, 3):
        set_num_threads(threads)
        gemm.multiply_into(y, a, b, (np.empty(0), np.zeros(n)), False)
        np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-11)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="counts instructions of x86")
def test_the_inner_loop_is_not_unrolled() -> None:
    """A second step needs registers that the tile has, and half of the time then goes into spilling them."""
    rows = TILE_ROWS[0]
    multiply: Any = gemm._multiply
    kernel = numba.njit(error_model="numpy", fastmath={"reassoc", "contract"})(multiply.py_func)  # not cached
    a, b, y = np.ones((rows, 3)), np.ones((3, 40)), np.empty((rows, 40))
    arguments = (0,) * rows, (0, 0), a, False, b, False, np.empty(0), np.zeros(40), False, y, True, new_team(1), 1
    kernel(*arguments)
    code = kernel.inspect_llvm(kernel.signatures[0]).splitlines()
    assert sum("call" in line and "llvm.fmuladd" in line for line in code) == 2 * rows
