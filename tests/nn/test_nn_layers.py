"""Layers: values against NumPy, gradients against finite differences, dtypes, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen import nn
from tinygen.autograd import Array, Parameter, Tensor, grad, tanh, taps
from tinygen.autograd.tensor import array_of
from tinygen.nn import ActivationCache, MaskedConv, MaskedLinear, MaskedMLP
from tinygen.nn.networks import images
from tinygen.testing import check_grads

# Sums of at most 20 products of magnitude below 10, each with a relative rounding error of 6e-8.
FLOAT32: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def random_parameters(module: Any, dtype: Any = np.float32) -> Any:
    return randomised(module, np.random.default_rng(5), dtype)


def noise(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def reference_conv(x: Array, w: Array, offsets: taps.Taps, stride: int) -> Array:
    """Return Σₜ x(s·p + oₜ) wₜ for images, with a loop over positions and taps."""
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
def test_linear_matches_numpy(lead: tuple[int, ...], bias: bool) -> None:
    layer, x = random_parameters(nn.Linear(5, 3, seeded(), bias=bias)), noise(*lead, 5)
    y = layer(x)
    assert y.dtype == np.float32
    assert np.allclose(y.value, x @ layer.w.value + (layer.b.value if bias else 0), **FLOAT32)


POINTS, IMAGE = np.eye(2, 3), np.eye(4).reshape(1, 4, 4, 1)
MASK = np.array([[1], [0], [1]])
# Each layer, called with x, zeros and ones in some dtype, and with a context or a mask in that dtype, if it takes one.
CALLS: dict[str, tuple[Array, Callable[[np.random.Generator], Callable[[Array], Tensor]]]] = {
    "Linear": (POINTS, lambda rng: nn.Linear(3, 2, rng)),
    "Linear, no bias": (POINTS, lambda rng: nn.Linear(3, 2, rng, bias=False)),
    "MLP": (POINTS, lambda rng: nn.MLP(3, (4,), 2, rng)),
    "Conv": (IMAGE, lambda rng: nn.Conv(1, 2, taps.square(3), rng)),
    "ConvTranspose": (IMAGE, lambda rng: nn.ConvTranspose(1, 2, taps.square(3), rng)),
    "LSTM": (POINTS[None], lambda rng: nn.LSTM(3, 2, rng)),
    "LSTM.step": (POINTS, lambda rng: lambda x: (lstm := nn.LSTM(3, 2, rng)).step(x, lstm.initial_state(2))[0]),
    "MaskedLinear": (POINTS, lambda rng: lambda x: MaskedLinear(3, 1, rng)(x, MASK.astype(x.dtype))),
    "MaskedConv": (IMAGE, lambda rng: lambda x: MaskedConv(1, 1, ((0, -1),), rng)(x, MASK[:1].astype(x.dtype))),
    "MaskedMLP": (POINTS, lambda rng: MaskedMLP(3, 1, rng, hidden=(4,), direct=True)),
    "MaskedMLP, context": (POINTS, lambda rng: lambda x: MaskedMLP(3, 1, rng, hidden=(4,), context=3)(x, x)),
    "MLPEncoder": (POINTS, lambda rng: images.MLPEncoder((3,), 2, rng, levels=2)),
    "MLPEncoder, context": (POINTS, lambda rng: lambda x: images.MLPEncoder((3,), 2, rng, context=3)(x, x)),
    "MLPDecoder": (POINTS, lambda rng: lambda x: images.MLPDecoder(3, (2,), rng, context=3)(x, x)),
    "ConvEncoder": (IMAGE, lambda rng: lambda x: images.ConvEncoder((4, 4, 1), 2, rng, context=4)(x, x[:, 0, :, 0])),
    "ConvDecoder": (POINTS, lambda rng: images.ConvDecoder(3, (4, 4, 1), rng)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("x_dtype", [np.uint8, np.int64, bool])
def test_integer_inputs_are_cast_to_the_dtype_of_the_weights(x_dtype: Any, name: str) -> None:
    """NumPy would promote int64 and float32 to float64."""
    x, layer = CALLS[name]
    y = layer(seeded())(x.astype(x_dtype))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.value, layer(seeded())(x.astype(np.float32)).value)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["no argument", "zero", "vector", "tensor"])
def test_conv_matches_loop_over_positions(stride: int, bias: bool, kind: str) -> None:
    offsets = taps.causal(3, centre=True)
    layer, x = random_parameters(nn.Conv(2, 3, offsets, seeded(), stride, bias)), noise(2, 5, 4, 2)
    expected = reference_conv(x, layer.w.value, offsets, stride) + (layer.b.value if bias else 0)
    residual: Any = {"zero": 0, "vector": noise(3), "tensor": Tensor(noise(*expected.shape))}.get(kind)
    y = layer(x) if residual is None else layer(x, residual=residual)
    assert y.dtype == np.float32
    assert np.allclose(y.value, expected + (0 if residual is None else array_of(residual)), **FLOAT32)


def test_conv_uses_the_cache() -> None:
    """A smoke test for a layer whose input is written afterwards; test_cache.py has the details."""
    layer, x = random_parameters(nn.Conv(2, 3, taps.causal(3), seeded())), noise(2, 3, 3, 2)
    cache = ActivationCache(2, (3, 3))
    expected = layer(x).value
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        assert np.allclose(layer(None, cache, residual=1.0).value, expected[:, i, j] + 1, **FLOAT32)
        cache.write(x[:, i, j])
    with pytest.raises(ValueError, match="only a call with a cache may omit x"):
        layer(None)


@given(st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_conv_transpose_is_the_adjoint_of_conv(stride: int, size: int, pass_size: bool) -> None:
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩ with the same weights; the bias is added afterwards."""
    offsets = taps.square(3)
    up, x_size = nn.ConvTranspose(4, 2, offsets, seeded(), stride, bias=False), (stride * size, stride * size)
    assert up(noise(2, size, size, 4)).dtype == np.float32
    down = nn.Conv(2, 4, offsets, seeded(), stride, bias=False)
    down.w = random_parameters(up, np.float64).w
    x, y = noise(2, *x_size, 2, dtype=np.float64), noise(2, size, size, 4, dtype=np.float64)
    back = up(y, x_size) if pass_size else up(y)
    assert back.shape == x.shape
    # About 10⁴ terms in float64, summed in two orders; the sum may be close to 0.
    assert np.isclose(np.vdot(down(x).value, y), np.vdot(x, back.value), rtol=1e-10, atol=1e-10)
    up.b = Parameter(noise(2))
    assert np.allclose(up(y).value, back.value + up.b.value, **FLOAT32)


@pytest.mark.parametrize("kind", ["linear", "conv", "conv transpose"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_fans_are_the_numbers_of_connections(kind: str, stride: int) -> None:
    """With weights and inputs of 1, an output is its number of inputs, and the gradient of the sum that of outputs."""
    fans = []

    def ones(shape: tuple[int, ...], fan: tuple[int, int], rng: np.random.Generator) -> Array:
        fans.append(fan)
        return np.ones(shape, np.float32)

    window = taps.square(6, start=-2)  # every output of a transposed convolution receives (6 / stride)² taps
    make: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
        "linear": lambda: nn.Linear(2, 5, seeded(), init=ones),
        "conv": lambda: nn.Conv(2, 5, window, seeded(), stride, init=ones),
        "conv transpose": lambda: nn.ConvTranspose(2, 5, window, seeded(), stride, init=ones),
    }
    x = Tensor(np.ones((1, 12, 12, 2), np.float32))
    y = make[kind]()(x)
    assert fans[0][0] == y.value.max()  # at the border there are fewer
    connections = grad(y.sum(), [x])[0].value.max()
    assert fans[0][1] == connections * (stride**2 if kind == "conv" else 1)  # counted as without a stride


def test_sequential_mixes_modules_and_functions() -> None:
    first, second = (random_parameters(nn.Linear(*sizes, seeded())) for sizes in ((2, 3), (3, 1)))
    net, x = nn.Sequential(first, lambda x: x * x, second), noise(4, 2)
    assert np.array_equal(net(x).value, second(first(x) * first(x)).value)
    assert len(net.parameters()) == 4
    assert np.array_equal(nn.Sequential()(x).value, x)


@pytest.mark.parametrize("mask_a", [True, False])
def test_sequential_with_a_cache_matches_full_evaluation(mask_a: bool) -> None:
    """A nested network with plain functions; with mask A, the input of the first layer is written afterwards."""
    first, second, last = (taps.causal(3, centre=not mask_a), taps.causal(3, centre=True), taps.point())
    inner = nn.Sequential(tanh, nn.Conv(3, 4, second, seeded()), lambda h: h / (1 + h * h))
    net = nn.Sequential(nn.Conv(2, 3, first, seeded()), inner, nn.Conv(4, 2, last, seeded()))
    random_parameters(net, np.float64)
    x, cache = noise(2, 4, 3, 2, dtype=np.float64), ActivationCache(2, (4, 3))
    expected = net(x).value
    for i, j in np.ndindex(4, 3):
        cache.position = i, j
        y = net(None if mask_a else x[:, i, j], cache)
        # Sums of at most 20 products in float64, in another order.
        np.testing.assert_allclose(y.value, expected[:, i, j], rtol=1e-11, atol=1e-12)
        if mask_a:
            cache.write(x[:, i, j])


def test_embedding_gathers_rows_and_accumulates_gradients_of_repeated_symbols() -> None:
    layer = nn.Embedding(5, 3, seeded())
    k = np.array([[0, 4], [4, 4]])
    assert np.array_equal(layer(k).value, layer.w.value[k])
    (g,) = grad(layer(k).sum(), [layer.w])
    assert g.value[:, 0].tolist() == [1, 0, 0, 0, 3]


@pytest.mark.parametrize("k", [np.array([5]), np.array([-1]), np.array([1.0])])
def test_embedding_rejects_invalid_symbols(k: Array) -> None:
    with pytest.raises(ValueError, match="Embedding k: expected integers 0…4"):
        nn.Embedding(5, 3, seeded())(k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_zeroes_the_given_fraction_and_rescales_the_rest(dtype: Any) -> None:
    x = Tensor(np.ones(100_000, dtype))
    y = nn.dropout(x, 0.3, seeded())
    assert y.dtype == dtype
    assert np.array_equal(np.unique(y.value), np.array([0, 1 / 0.7], dtype))
    assert abs(np.mean(y.value == 0) - 0.3) < 5 * np.sqrt(0.21 / 100_000)


@pytest.mark.parametrize("dtype", ["?", "u1", "i8"])
def test_dropout_of_integers_is_computed_in_float64(dtype: str) -> None:
    x = np.ones(100, dtype)
    expected = nn.dropout(Tensor(x.astype(np.float64)), 0.3, np.random.default_rng(0)).value
    for given_x in (x, Tensor(x)):
        np.testing.assert_array_equal(nn.dropout(given_x, 0.3, np.random.default_rng(0)).value, expected)


@pytest.mark.parametrize("make", [nn.Conv, nn.ConvTranspose])
def test_taps_may_be_lists_but_not_floats(make: Any, rng: np.random.Generator) -> None:
    assert make(1, 1, [[0, -1], [0, 0]], rng).taps == ((0, -1), (0, 0))
    with pytest.raises(TypeError, match=f"^{make.__name__}: taps: expected tuples of integers, got "):
        make(1, 1, ((0.0, -1.0),), rng)


def test_dropout_is_the_identity_without_rng_and_deterministic_with_a_seed() -> None:
    x = Tensor(noise(50))
    assert nn.dropout(x, 0.5, None) is x
    assert nn.dropout(x, 0.0, seeded()) is x
    assert np.array_equal(nn.dropout(x, 0.5, seeded()).value, nn.dropout(x, 0.5, seeded()).value)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_rejects_invalid_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        nn.dropout(Tensor(noise(50)), rate, None)


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(3, 2, seeded()), (4, 3)),
    "linear without bias": (lambda: nn.Linear(3, 2, seeded(), bias=False), (4, 3)),
    "conv": (lambda: nn.Conv(2, 3, taps.square(3), seeded(), stride=2), (1, 4, 3, 2)),
    "conv transpose": (lambda: nn.ConvTranspose(2, 3, taps.square(2, start=0), seeded(), stride=2), (1, 2, 2, 2)),
}


def check_layer_grads(layer: Any, call: Callable[[Any, Tensor], Tensor], x: Array) -> None:
    """Check the gradients with respect to the input and all parameters."""
    names = layer.named_parameters()

    def f(x: Tensor, *values: Tensor) -> Tensor:
        twin = copy.copy(layer)
        vars(twin).update(zip(names, values, strict=True))
        return call(twin, x)

    check_grads(f, x, *(p.value for p in names.values()), rng=seeded())


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_match_finite_differences(name: str) -> None:
    make, shape = LAYERS[name]
    check_layer_grads(random_parameters(make(), np.float64), lambda layer, x: layer(x), noise(*shape, dtype=np.float64))


def test_gradients_of_a_residual_convolution() -> None:
    layer = random_parameters(nn.Conv(2, 2, taps.point(), seeded()), np.float64)
    check_layer_grads(layer, lambda layer, x: layer(x, residual=x), noise(1, 2, 3, 2, dtype=np.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(0, 2, seeded()), "n_in: expected at least 1, got 0"),
        (lambda: nn.Linear(2, -1, seeded()), "n_out: expected at least 1, got -1"),
        (lambda: nn.Conv(1, 1, taps.causal(1), seeded()), "taps: expected at least 1, got 0"),
        (lambda: nn.Conv(1, 1, taps.square(3), seeded(), stride=0), "stride: expected at least 1, got 0"),
        (lambda: nn.ConvTranspose(1, 0, taps.square(3), seeded()), "n_out: expected at least 1, got 0"),
        (lambda: nn.Embedding(0, 1, seeded()), "n: expected at least 1, got 0"),
    ],
)
def test_rejects_sizes_below_one(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
