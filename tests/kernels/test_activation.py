"""gated_activation, relu and their VJPs: accuracy, limits, shapes and memory layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.kernels.activation import gated_activation, gated_activation_vjp, relu, relu_vjp, tanh_vjp
from tinygen.kernels.likelihood import bernoulli, bernoulli_vjp

SPECIAL = [0.0, np.inf, -np.inf, np.nan]


def exact(x: Any) -> Any:
    """The gated activation tanh(a) σ(b) in float64."""
    a, b = np.split(x.astype(np.float64), 2, axis=-1)
    return np.tanh(a) / (1 + np.exp(-b))


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(0, 4), st.integers(0, 9).map(lambda n: 2 * n)), elements=st.floats(-30, 30)
    )
)
def test_gated_activation_in_both_dtypes(x: Any) -> None:
    y = gated_activation(x)
    np.testing.assert_allclose(y, exact(x), rtol=1e-14, atol=0)
    single = x.astype(np.float32)
    assert gated_activation(single).dtype == np.float32
    np.testing.assert_allclose(gated_activation(single), exact(single), rtol=0, atol=4e-7)


def test_float32_accuracy_on_a_fine_grid() -> None:
    """tanh keeps its relative precision near 0, where 1 − 2 / (1 + exp 2x) would lose it."""
    a = np.concatenate([np.linspace(-12, 12, 200_001), np.logspace(-30, 1, 10_001)]).astype(np.float32)
    y = gated_activation(np.stack([a, np.full_like(a, 40)], axis=-1))[:, 0]
    tanh = np.tanh(a.astype(np.float64))
    assert (np.abs(y - tanh) / np.spacing(np.abs(tanh).astype(np.float32))).max() < 6  # units in the last place
    y = gated_activation(np.stack([np.full_like(a, 40), a], axis=-1))[:, 0]
    assert np.abs(y - 1 / (1 + np.exp(-a.astype(np.float64)))).max() < 3e-7


# Far from 0, tanh a · σ(b) and its derivatives equal these exponentials within a factor 1 + 2 exp(−40).
@pytest.mark.parametrize("b", [-700.0, -50.0, -40.0])
@pytest.mark.parametrize("a", [-300.0, -30.0, 20.0, 250.0])
def test_float64_keeps_relative_precision_of_small_results(a: float, b: float) -> None:
    x, sign = np.array([a, b]), np.sign(a)
    np.testing.assert_allclose(gated_activation(x), [sign * np.exp(b)], rtol=1e-14)
    slope_a = 4 * np.exp(-2 * abs(a))
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(
            gated_activation_vjp(x, np.ones(1)), [slope_a * np.exp(b), sign * np.exp(b)], rtol=1e-14
        )
        # σ(−b) is almost 1; b's derivative needs 1 − σ(−b) to full relative precision.
        x = np.array([a, -b])
        np.testing.assert_allclose(gated_activation_vjp(x, np.ones(1)), [slope_a, sign * np.exp(b)], rtol=1e-14)


@given(st.integers(0, 2**32 - 1))
def test_vjp_matches_central_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, g, v = rng.standard_normal((3, 5, 8)), rng.standard_normal((3, 5, 4)), rng.standard_normal((3, 5, 8))
    # The error of central differences is h²/6 · f‴ ≈ 1e-12 from truncation and ε/h ≈ 1e-10 from rounding.
    slope = np.sum(g * (gated_activation(x + 1e-6 * v) - gated_activation(x - 1e-6 * v))) / 2e-6
    np.testing.assert_allclose(np.vdot(gated_activation_vjp(x, g), v), slope, rtol=1e-7, atol=1e-8)
    ours = gated_activation_vjp(x.astype(np.float32), g.astype(np.float32))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, gated_activation_vjp(x, g), rtol=0, atol=4e-6)  # a few roundings of |g| ≤ 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_propagates_and_infinite_inputs_give_the_limits(dtype: Any) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[inf, inf], [-inf, inf], [inf, -inf], [nan, 1], [1, nan]], dtype)
    np.testing.assert_array_equal(gated_activation(x), np.array([[1], [-1], [0], [nan], [nan]], dtype))
    dx = gated_activation_vjp(x, np.ones((5, 1), dtype))
    np.testing.assert_array_equal(dx[:3], 0)
    assert np.isnan(dx[3:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_shape_and_layout_without_modifying_inputs(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in (6,), (0, 6), (2, 0), (2, 3, 4, 6), (700, 128):
        x = rng.standard_normal(shape).astype(dtype)
        fortran, before = np.asfortranarray(x), x.copy()
        y = gated_activation(x)
        assert y.shape == (*shape[:-1], shape[-1] // 2)
        np.testing.assert_array_equal(gated_activation(fortran), y)
        np.testing.assert_array_equal(gated_activation_vjp(fortran, np.asfortranarray(y)), gated_activation_vjp(x, y))
        np.testing.assert_array_equal(x, before)


def test_rejects_odd_sizes_and_wrong_cotangent_shapes() -> None:
    with pytest.raises(ValueError, match="expected an even last axis"):
        gated_activation(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="g: expected half as many channels"):
        gated_activation_vjp(np.zeros((2, 4)), np.zeros((2, 4)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_vjp_for_any_layout(dtype: Any) -> None:
    y = np.tanh(np.random.default_rng(0).normal(size=(70, 80)).astype(dtype))
    for view, g in ((y, 3 + y.T.reshape(70, 80)), (y.T, y.T), (y[:2], y[:2])):
        expected = g.astype(np.float64) * (1 - view.astype(np.float64) ** 2)
        np.testing.assert_allclose(tanh_vjp(view, g), expected, rtol=0, atol=4 * np.finfo(dtype).eps * 4)
        assert tanh_vjp(view, g).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    x=hnp.arrays(
        np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(-9, 9, width=32) | st.sampled_from(SPECIAL)
    )
)
def test_relu_and_its_vjp_match_numpy(dtype: Any, x: Any) -> None:
    x = x.astype(dtype)
    large = np.resize(x, (64, 80))  # large enough for the compiled kernel
    for view in (x, x.T, x[::-1], large, large.T):
        y, g = relu(view), np.arange(1, view.size + 1, dtype=dtype).reshape(view.shape)
        np.testing.assert_array_equal(y, np.maximum(view, 0))
        np.testing.assert_array_equal(relu_vjp(y, g), np.where(view <= 0, 0, g))
        assert y.dtype == relu_vjp(y, g).dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, bool])
def test_integers_are_computed_in_float64(dtype: Any) -> None:
    x = np.array([[0, 1, 1, 127]]).astype(dtype)
    expected = x.astype(np.float64)
    np.testing.assert_array_equal(gated_activation(x), gated_activation(expected))
    np.testing.assert_array_equal(
        gated_activation_vjp(x, np.ones((1, 2))), gated_activation_vjp(expected, np.ones((1, 2)))
    )
    k = np.array([[0, 1, 0, 1]], np.uint8)
    np.testing.assert_array_equal(bernoulli(x, k), bernoulli(expected, k))
    np.testing.assert_array_equal(bernoulli_vjp(x, k, np.ones(1)), bernoulli_vjp(expected, k, np.ones(1)))
