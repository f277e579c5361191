"""Gradient clipping: one common factor, accurate norms at extreme magnitudes, and rejection of non-finite gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.parameters import gradients
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor
from tinygen.optim import NonFiniteGradientError, clip_by_global_norm


@given(seed=st.integers(0, 100), max_norm=st.floats(1e-3, 20), dtype=st.sampled_from([np.float32, np.float64]))
def test_clipping_scales_all_gradients_by_one_factor(seed: int, max_norm: float, dtype: Any) -> None:
    gs = gradients(seed, dtype)
    clipped, norm = clip_by_global_norm(gs, max_norm)
    flat, before = (np.concatenate([g.value.ravel() for g in tensors]) for tensors in (clipped, gs))
    assert math.isclose(norm, float(np.linalg.norm(before.astype(np.float64))), rel_tol=1e-5)
    assert all(g.dtype == dtype for g in clipped)
    assert np.linalg.norm(flat) <= max_norm * (1 + 1e-5)
    assert np.allclose(flat, before * min(1, max_norm / norm), rtol=1e-5)
    if norm <= max_norm:
        assert all(a is b for a, b in zip(clipped, gs, strict=True))


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1e25), (np.float32, 1e-23), (np.float32, 1e-40), (np.float64, 1e200), (np.float64, 1e-200)],
)
def test_norm_is_accurate_where_squares_overflow_or_underflow(dtype: Any, size: float) -> None:
    g = (np.array([3.0, 4.0]) * size).astype(dtype)
    (clipped,), norm = clip_by_global_norm([Tensor(g)], size)
    assert math.isclose(norm, 5 * size, rel_tol=1e-5)
    assert np.allclose(clipped.value / dtype(size), [0.6, 0.8], rtol=1e-4)  # float32 keeps five digits of 1e-40


def test_norm_of_many_numbers_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of more than 10⁴ float64 numbers run on threads of OpenBLAS, which spin for milliseconds afterwards."""
    sizes, vdot = [], np.vdot

    def recorded(a: Any, b: Any) -> Any:
        sizes.append(a.size)
        return vdot(a, b)

    monkeypatch.setattr(np, "vdot", recorded)
    monkeypatch.setattr(np, "dot", None)
    monkeypatch.setattr(np.linalg, "norm", None)
    g = np.asfortranarray(np.full((300, 100), 2.0))
    for scale in (1.0, 1e200):  # the square of the second overflows
        assert math.isclose(clip_by_global_norm([Tensor(g * scale)], 1.0)[1], 2 * math.sqrt(30_000) * scale)
    assert 0 < max(sizes) <= 10_000


def test_norm_of_zero_gradients_is_zero() -> None:
    assert clip_by_global_norm([Tensor(np.zeros(2))], 1.0)[1] == 0


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_clipping_rejects_non_finite_gradients(bad: float) -> None:
    with pytest.raises(NonFiniteGradientError, match=r"gradients\[1\] .* 1 of 2 entries are NaN or infinite"):
        clip_by_global_norm([Tensor(np.ones(2)), Tensor(np.array([1, bad]))], 1.0)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_clipping_rejects_invalid_max_norm(max_norm: float) -> None:
    with pytest.raises(ValueError, match="max_norm: expected a positive number, got"):
        clip_by_global_norm(gradients(0), max_norm)


def test_clipping_rejects_a_norm_that_overflows_and_integers() -> None:
    for arrays in ([np.full(4, 1.7e308)], [np.full(1, 1.5e308), np.full(1, 1.6e308)]):
        with pytest.raises(NonFiniteGradientError, match=rf"gradients\[{len(arrays) - 1}\].*whose squares overflow"):
            clip_by_global_norm([Tensor(g) for g in arrays], 1.0)
    with pytest.raises(TypeError, match=r"gradients\[0\]: expected a floating-point Tensor, got int64"):
        clip_by_global_norm([Tensor([3, 4])], 1.0)
