"""Fused operations equal compositions of simple ones, in value and in first and second derivatives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, grad
from tinygen.autograd import (
    Array,
    bernoulli_log_prob,
    categorical_log_prob,
    exp,
    gated_activation,
    log_sigmoid,
    log_softmax,
    logsumexp,
    lstm,
    lstm_cell,
    mixture_cdf,
    reshape,
    sigmoid,
    split,
    stack,
    take_along_axis,
    tanh,
)

SHAPES = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([2, 6, 34]))


def composed_gated_activation(x: Tensor) -> Tensor:
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])  # float32 has 7 digits
@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_gated_activation_equals_its_composition(
    dtype: Any, tolerance: float, shape: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=shape).astype(dtype) * 3)
    g = rng.normal(size=(*shape[:-1], shape[-1] // 2)).astype(dtype)
    fused, composed = gated_activation(x), composed_gated_activation(x)
    assert fused.dtype == dtype
    np.testing.assert_allclose(fused.value, composed.value, rtol=tolerance, atol=tolerance)
    fused_grad, composed_grad = grad(fused, [x], g)[0], grad(composed, [x], g)[0]
    assert fused_grad.dtype == dtype
    # An error of 5 ulp in tanh is an error of 10 ulp in 1 − tanh², multiplied by a cotangent of up to 5.
    bound: Any = {"rtol": tolerance, "atol": 4 * tolerance}
    np.testing.assert_allclose(fused_grad.value, composed_grad.value, **bound)
    with_graph = grad(fused, [x], g, create_graph=True)[0]
    np.testing.assert_allclose(with_graph.value, composed_grad.value, **bound)


def test_gated_activation_rejects_odd_sizes() -> None:
    with pytest.raises(ValueError, match="gated_activation: expected an even"):
        gated_activation(np.zeros((2, 3)))


def check_equal(fused: Tensor, composed: Tensor, x: Tensor, g: Array, tolerance: float) -> None:
    """Compare values and gradients in x, without and with create_graph."""
    assert fused.dtype == x.dtype
    np.testing.assert_allclose(fused.value, composed.value, rtol=tolerance, atol=tolerance)
    expected = grad(composed, [x], g)[0].value
    for with_graph in (False, True):
        ours = grad(fused, [x], g, create_graph=with_graph)[0]
        assert ours.dtype == x.dtype
        np.testing.assert_allclose(ours.value, expected, rtol=tolerance, atol=tolerance)


# 2e-5: float32 sums of up to 200 terms of magnitude 10.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-5)])
@given(shape=st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 64, 200])), seed=st.integers(0, 2**32))
def test_bernoulli_log_prob_equals_its_composition(
    dtype: Any, tolerance: float, shape: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, k = Tensor(rng.normal(size=shape).astype(dtype) * 5), rng.integers(0, 2, shape)
    g = rng.normal(size=shape[0]).astype(dtype)
    fused, composed = bernoulli_log_prob(x, k), log_sigmoid(x * np.where(k, 1, -1).astype(dtype)).sum(1)
    check_equal(fused, composed, x, g, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 4e-6)])  # sums of 256 terms
@given(n=st.integers(0, 5), levels=st.sampled_from([1, 2, 17, 256]), seed=st.integers(0, 2**32))
def test_categorical_log_prob_equals_its_composition(
    dtype: Any, tolerance: float, n: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, k = Tensor((rng.normal(size=(n, levels)) * 5).astype(dtype)), rng.integers(0, levels, n)
    g = rng.normal(size=n).astype(dtype)
    fused, composed = categorical_log_prob(x, k), take_along_axis(log_softmax(x), k[:, None], 1).reshape(n)
    check_equal(fused, composed, x, g, tolerance)


@pytest.mark.parametrize("operation", [categorical_log_prob, lambda x, k: bernoulli_log_prob(x, k[:, None] == [0, 1])])
def test_likelihoods_copy_their_classes(operation: Any) -> None:
    x, k = Tensor(np.zeros((2, 2))), np.array([0, 1])
    y = operation(x, k).sum()
    expected = grad(y, [x])[0].value
    k[:] = 0
    np.testing.assert_array_equal(grad(y, [x])[0].value, expected)


def composed_lstm(x: Tensor, u: Tensor) -> Tensor:
    h, c = Tensor(np.zeros((len(x), len(u)))), Tensor(np.zeros((len(x), len(u))))
    hs = []
    for t in range(x.shape[1]):
        h, c = lstm_cell(x[:, t] + h @ u, c)
        hs.append(h)
    return stack(hs, 1)


def first_and_second(f: Any, x: Array, u: Array, g: Array, v: Array) -> list[Array]:
    """Return f, its gradients without and with create_graph, and the gradients of ⟨∂f/∂x, v⟩ + Σ ∂f/∂u."""
    xs = [Tensor(x), Tensor(u)]
    y = f(*xs)
    with_graph = grad(y, xs, g, create_graph=True)
    second = grad((with_graph[0] * v).sum() + with_graph[1].sum(), xs, allow_unreached=True)
    return [t.value for t in [y, *grad(y, xs, g), *with_graph, *second]]


@given(
    n=st.sampled_from([1, 3, 8, 9, 20]),
    length=st.integers(1, 5),
    size=st.sampled_from([1, 5, 16, 33]),
    seed=st.integers(0, 2**32),
)
def test_lstm_in_float32_matches_its_composition_in_float64(n: int, length: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = (n, length, 4 * size), (size, 4 * size), (n, length, size), (n, length, 4 * size)
    x, u, g, v = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    u = u / np.float32(np.sqrt(size))
    single = first_and_second(lstm, x, u, g, v)
    double = first_and_second(composed_lstm, *(each.astype(np.float64) for each in (x, u, g, v)))
    for ours, exact in zip(single, double, strict=True):
        assert ours.dtype == np.float32
        # About 10³ rounding errors of 6e-8 relative to the largest term, because each time step amplifies earlier ones.
        np.testing.assert_allclose(ours, exact, rtol=0, atol=2e-5 * (1 + np.abs(exact).max()))


def test_lstm_accepts_any_layout_constants_and_empty_arrays() -> None:
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3, 4, 20)).astype(np.float32), rng.normal(size=(5, 20)).astype(np.float32)
    expected = lstm(x, u).value
    np.testing.assert_array_equal(lstm(np.asfortranarray(x), np.asfortranarray(u)).value, expected)
    by_u = grad(lstm(Tensor(x), parameter := Tensor(u)), [parameter], np.ones_like(expected))[0]
    with_graph = grad(lstm(x, parameter), [parameter], np.ones_like(expected), create_graph=True)[0]
    np.testing.assert_allclose(with_graph.value, by_u.value, rtol=1e-4, atol=1e-5)  # float32, summed in another order
    for empty in ((0, 4, 20), (3, 0, 20)):
        assert lstm(np.zeros(empty, np.float32), u).shape == (*empty[:2], 5)


def composed_mixture_cdf(x: Tensor, parameters: Tensor) -> Tensor:
    logits, means, log_scales = split(parameters, 3, axis=-1)
    log_w, a = log_softmax(logits), (reshape(x, (*x.shape, 1)) - means) * exp(-log_scales)
    log_density = log_sigmoid(a) + log_sigmoid(-a)
    log_u, log_rest = logsumexp(log_w + log_sigmoid(a), -1), logsumexp(log_w + log_sigmoid(-a), -1)
    return stack([log_u - log_rest, logsumexp(log_w + log_density - log_scales, -1)])


@given(
    size=st.integers(1, 4),
    shape=st.sampled_from([(), (0,), (7,), (3, 2)]),
    separate=st.booleans(),
    reach=st.sampled_from([1.0, 30.0, 1e4]),
    seed=st.integers(0, 2**32),
)
def test_mixture_cdf_equals_its_composition(
    size: int, shape: tuple[int, ...], separate: bool, reach: float, seed: int
) -> None:
    """The tails are included, up to where the probabilities themselves underflow."""
    rng = np.random.default_rng(seed)
    x, theta = rng.normal(size=shape) * reach, rng.normal(size=(*(shape if separate else ()), 3 * size))
    g = rng.normal(size=(2, *shape))
    xs = [Tensor(x), Tensor(theta)]
    fused, composed = mixture_cdf(xs[0], xs[1]), composed_mixture_cdf(xs[0], xs[1])
    np.testing.assert_allclose(fused.value, composed.value, rtol=1e-12, atol=1e-12)
    expected = [t.value for t in grad(composed, xs, g)]
    for with_graph in (False, True):
        for ours, theirs in zip(grad(fused, xs, g, create_graph=with_graph), expected, strict=True):
            np.testing.assert_allclose(ours.value, theirs, rtol=0, atol=1e-11 * (1 + np.abs(theirs).max(initial=0)))
    single = mixture_cdf(x.astype(np.float32), theta.astype(np.float32))
    assert single.dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (0,), ()])
def test_mixture_cdf_rejects_parameters_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mixture_cdf: expected parameters"):
        mixture_cdf(0.0, np.zeros(shape))
