"""Layers: values against NumPy, derivatives against finite differences, dtypes, and what they refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import nn
from tinygen.autograd import Array, Parameter, Tensor, grad, tanh, taps
from tinygen.autograd.tensor import array_of
from tinygen.nn.cache import ActivationCache
from tinygen.testing import check_grads

# Sums of at most 20 products below 10 in size, each rounded to 6e-8 of itself by float32.
FLOAT32: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def filled(module: Any, dtype: Any = np.float32) -> Any:
    """The module with a bias that is not zero, so that forgetting it shows."""
    r = np.random.default_rng(5)
    for parameter in module.astype(dtype).parameters():
        parameter.assign(r.normal(size=parameter.shape))
    return module


def noise(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def tap_loop(x: Array, w: Array, offsets: taps.Taps, stride: int) -> Array:
    """Σₜ x(s·p + oₜ) wₜ, position by position, for an image."""
    n, height, width, _ = x.shape
    y = np.zeros((n, -(-height // stride), -(-width // stride), w.shape[2]))
    for i, j in np.ndindex(y.shape[1:3]):
        for t, (dy, dx) in enumerate(offsets):
            row, column = stride * i + dy, stride * j + dx
            if 0 <= row < height and 0 <= column < width:
                y[:, i, j] += x[:, row, column].astype(np.float64) @ w[t]
    return y


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_linear(lead: tuple[int, ...], bias: bool) -> None:
    layer, x = filled(nn.Linear(5, 3, rng(), bias=bias)), noise(*lead, 5)
    y = layer(x)
    assert y.dtype == np.float32
    assert np.allclose(y.value, x @ layer.w.value + (layer.b.value if bias else 0), **FLOAT32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_integers_are_computed_with_in_the_dtype_of_the_weight(kind: Any, bias: bool) -> None:
    x = np.arange(20).reshape(4, 5).astype(kind)
    for dtype in (np.float32, np.float64):
        full, conv = nn.Linear(5, 3, rng(), bias=bias), nn.Conv(5, 3, taps.square(3), rng(), bias=bias)
        for layer, given_x in ((full, x), (full, Tensor(x)), (conv, x.reshape(1, 2, 2, 5))):
            y = filled(layer, dtype)(given_x)
            assert y.dtype == dtype
            assert np.array_equal(y.value, layer(array_of(given_x).astype(dtype)).value)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("residual", ["nothing", "zero", "vector", "tensor"])
def test_conv(stride: int, bias: bool, residual: str) -> None:
    offsets = taps.causal(3, centre=True)
    layer, x = filled(nn.Conv(2, 3, offsets, rng(), stride, bias)), noise(2, 5, 4, 2)
    wanted = tap_loop(x, layer.w.value, offsets, stride) + (layer.b.value if bias else 0)
    given_plus = {"zero": 0, "vector": noise(3), "tensor": Tensor(noise(*wanted.shape))}.get(residual)
    y = layer(x) if given_plus is None else layer(x, residual=given_plus)
    assert y.dtype == np.float32
    assert np.allclose(y.value, wanted + (0 if given_plus is None else array_of(given_plus)), **FLOAT32)


def test_conv_hands_a_memory_what_it_was_given() -> None:
    """Checked in earnest by test_memory; here, that the layer consults it, also for an input that is yet to come."""
    layer, x = filled(nn.Conv(2, 3, taps.causal(3), rng())), noise(2, 3, 3, 2)
    cache = ActivationCache(2, (3, 3))
    whole = layer(x)
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        assert np.allclose(layer(None, cache, residual=1.0).value, whole.value[:, i, j] + 1, **FLOAT32)
        cache.write(x[:, i, j])
    with pytest.raises(ValueError, match="only with a cache"):
        layer(None)


@given(st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_conv_transpose_is_the_adjoint_of_conv(stride: int, size: int, sized: bool) -> None:
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩ with the same weights, and the bias on top."""
    offsets = taps.square(3)
    up, x_size = nn.ConvTranspose(4, 2, offsets, rng(), stride, bias=False), (stride * size, stride * size)
    assert up(noise(2, size, size, 4)).dtype == np.float32
    down = nn.Conv(2, 4, offsets, rng(), stride, bias=False)
    down.w = filled(up, np.float64).w
    x, y = noise(2, *x_size, 2, dtype=np.float64), noise(2, size, size, 4, dtype=np.float64)
    back = up(y, x_size) if sized else up(y)
    assert back.shape == x.shape
    # A sum of some 10⁴ terms in float64, in two orders; it may come out near 0.
    assert np.isclose(np.vdot(down(x).value, y), np.vdot(x, back.value), rtol=1e-10, atol=1e-10)
    up.b = Parameter(noise(2))
    assert np.allclose(up(y).value, back.value + up.b.value, **FLOAT32)


def test_sequential_mixes_modules_and_functions() -> None:
    first, second, x = filled(nn.Linear(2, 3, rng())), filled(nn.Linear(3, 1, rng())), noise(4, 2)
    net = nn.Sequential(first, lambda x: x * x, second)
    assert np.array_equal(net(x).value, second(first(x) * first(x)).value)
    assert len(net.parameters()) == 4
    assert np.array_equal(nn.Sequential()(x).value, x)


@pytest.mark.parametrize("mask_a", [True, False])
def test_sequential_evaluates_position_by_position_what_it_evaluates_as_a_whole(mask_a: bool) -> None:
    """One network, two evaluators: nested, with plain functions, and first of all a layer whose input comes later."""
    first, second, last = (taps.causal(3, centre=not mask_a), taps.causal(3, centre=True), taps.point())
    inner = nn.Sequential(tanh, nn.Conv(3, 4, second, rng()), nn.LayerNorm(4))
    net = nn.Sequential(nn.Conv(2, 3, first, rng()), inner, nn.Conv(4, 2, last, rng()))
    filled(net, np.float64)
    x, cache = noise(2, 4, 3, 2, dtype=np.float64), ActivationCache(2, (4, 3))
    whole = net(x)
    for i, j in np.ndindex(4, 3):
        cache.position = i, j
        here = net(None if mask_a else x[:, i, j], cache)
        # Sums of at most 20 products in float64, in another order.
        np.testing.assert_allclose(here.value, whole.value[:, i, j], rtol=1e-11, atol=1e-12)
        if mask_a:
            cache.write(x[:, i, j])


def test_embedding_looks_up_and_gathers_gradients_of_what_is_named_twice() -> None:
    layer = nn.Embedding(5, 3, rng())
    k = np.array([[0, 4], [4, 4]])
    assert np.array_equal(layer(k).value, layer.w.value[k])
    (g,) = grad(layer(k).sum(), [layer.w])
    assert g.value[:, 0].tolist() == [1, 0, 0, 0, 3]


@pytest.mark.parametrize("k", [np.array([5]), np.array([-1]), np.array([1.0])])
def test_embedding_refuses_what_is_no_symbol(k: Array) -> None:
    with pytest.raises(ValueError, match="integers in 0…4"):
        nn.Embedding(5, 3, rng())(k)


def test_layer_norm() -> None:
    layer, x = filled(nn.LayerNorm(6)), 3 + 10 * noise(2, 4, 6)
    y = layer(Tensor(x))
    wanted = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    assert y.dtype == np.float32
    assert np.allclose(y.value, wanted * layer.w.value + layer.b.value, **FLOAT32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_keeps_the_mean_and_drops_the_share_it_says(dtype: Any) -> None:
    x = Tensor(np.ones(100_000, dtype))
    y = nn.dropout(x, 0.3, rng())
    assert y.dtype == dtype
    assert np.array_equal(np.unique(y.value), np.array([0, 1 / 0.7], dtype))
    assert abs(np.mean(y.value == 0) - 0.3) < 5 * np.sqrt(0.21 / 100_000)


def test_dropout_is_the_identity_without_a_generator_and_the_same_for_the_same_seed() -> None:
    x = Tensor(noise(50))
    assert nn.dropout(x, 0.5, None) is x
    assert nn.dropout(x, 0.0, rng()) is x
    assert np.array_equal(nn.dropout(x, 0.5, rng()).value, nn.dropout(x, 0.5, rng()).value)
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            nn.dropout(x, rate, None)


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(3, 2, rng()), (4, 3)),
    "linear without bias": (lambda: nn.Linear(3, 2, rng(), bias=False), (4, 3)),
    "conv": (lambda: nn.Conv(2, 3, taps.square(3), rng(), stride=2), (1, 4, 3, 2)),
    "conv transpose": (lambda: nn.ConvTranspose(2, 3, taps.square(2, start=0), rng(), stride=2), (1, 2, 2, 2)),
    "layer norm": (lambda: nn.LayerNorm(4), (3, 4)),
}


def check_layer_grads(layer: Any, call: Callable[[Any, Tensor], Tensor], x: Array) -> None:
    """Hold a layer's derivatives by x and by its own parameters against finite differences."""
    names = layer.named_parameters()

    def f(x: Tensor, *values: Tensor) -> Tensor:
        twin = copy.copy(layer)
        vars(twin).update(zip(names, values, strict=True))
        return call(twin, x)

    check_grads(f, x, *(p.value for p in names.values()), rng=rng())


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives_by_input_and_parameters(name: str) -> None:
    make, shape = LAYERS[name]
    check_layer_grads(filled(make(), np.float64), lambda layer, x: layer(x), noise(*shape, dtype=np.float64))


def test_derivatives_of_a_residual_convolution() -> None:
    layer = filled(nn.Conv(2, 2, taps.point(), rng()), np.float64)
    check_layer_grads(layer, lambda layer, x: layer(x, residual=x), noise(1, 2, 3, 2, dtype=np.float64))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Linear(0, 2, rng()), "n_in: expected at least 1, got 0"),
        (lambda: nn.Linear(2, -1, rng()), "n_out: expected at least 1, got -1"),
        (lambda: nn.Conv(1, 1, taps.causal(1), rng()), "taps: expected at least 1, got 0"),
        (lambda: nn.Conv(1, 1, taps.square(3), rng(), stride=0), "stride: expected at least 1, got 0"),
        (lambda: nn.ConvTranspose(1, 0, taps.square(3), rng()), "n_out: expected at least 1, got 0"),
        (lambda: nn.Embedding(0, 1, rng()), "n: expected at least 1, got 0"),
        (lambda: nn.LayerNorm(0), "dim: expected at least 1, got 0"),
        (lambda: nn.LayerNorm(3)(Tensor(np.zeros((2, 1)))), r"LayerNorm x: expected \(…, 3\), got \(2, 1\)"),
    ],
)
def test_sizes_below_one_are_refused_by_name(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
