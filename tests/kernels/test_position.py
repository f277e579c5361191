"""Convolution at one position, against NumPy, for any number of images and channels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import position
from tinygen.kernels.position import AtPosition
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

# Sums of up to 5 · 9 products of order 1, in different orders.
TOLERANCE: dict[Any, Any] = {np.float32: {"rtol": 1e-4, "atol": 1e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-13}}


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(3)
    yield
    set_num_threads(before)


def case(n: int, taps: int, channels_in: int, channels: int, dtype: Any, rng: np.random.Generator) -> Any:
    """Return random weights, bias, inputs, starts (which may coincide) and residual."""
    w, b, x, residual = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((taps, channels_in, channels), (channels,), (3 * n + 4, channels_in), (n, channels))
    )
    return w, b, x, rng.integers(0, 2 * n + 5, taps), residual


def reference(w: Any, b: Any, x: Any, starts: Any, residual: Any) -> Any:
    """Compute the sum in float64, one image and one tap at a time."""
    y = np.array(residual, np.float64) + (0 if b is None else b)
    for i in range(len(y)):
        for start, matrix in zip(starts, w.astype(np.float64), strict=True):
            y[i] += x[start + i] @ matrix
    return y


@given(
    n=st.integers(0, 19),
    taps=st.integers(1, 5),
    channels_in=st.integers(1, 9),
    channels=st.integers(1, 70),  # one register, two, and several blocks of registers
    dtype=st.sampled_from([np.float32, np.float64]),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_kernel_and_plain_form_match_numpy(
    n: int, taps: int, channels_in: int, channels: int, dtype: Any,
    with_bias: bool, with_residual: bool, relu: bool, seed: int,
) -> None:  # fmt: skip
    w, b, x, starts, residual = case(n, taps, channels_in, channels, dtype, np.random.default_rng(seed))
    b, residual = b if with_bias else None, residual if with_residual else None
    expected = reference(w, b, x, starts, np.zeros((n, channels)) if residual is None else residual)
    expected = np.maximum(expected, 0) if relu else expected
    layer = AtPosition(w, b, relu)
    for y in (layer(x, starts, n, residual), layer.plain(x, starts, n, layer.zeros if residual is None else residual)):
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, **TOLERANCE[dtype])


def test_images_split_over_threads_match_numpy(
    three_threads: None, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(position, "GRAIN", 1)
    for n in (2, 3, 25, 40):
        w, b, x, starts, residual = case(n, 3, 4, 40, np.float32, rng)
        y = AtPosition(w, b, relu=True)(x, starts, n, residual)
        np.testing.assert_allclose(y, np.maximum(reference(w, b, x, starts, residual), 0), **TOLERANCE[np.float32])


def test_residual_may_be_a_view(rng: np.random.Generator) -> None:
    w, b, x, starts, _ = case(5, 2, 3, 4, np.float64, rng)
    rows = rng.standard_normal((5, 7, 4))
    np.testing.assert_allclose(
        AtPosition(w, b)(x, starts, 5, rows[:, 2]), reference(w, b, x, starts, rows[:, 2]), rtol=1e-12
    )


@pytest.mark.parametrize("relu", [False, True])
def test_nan_propagates(relu: bool) -> None:
    x = np.array([[np.nan], [-1.0], [2.0]], np.float32)
    y = AtPosition(np.ones((1, 1, 3), np.float32), None, relu)(x, np.zeros(1, np.int64), 3)
    np.testing.assert_array_equal(y[:, 0], [np.nan, 0 if relu else -1, 2])
