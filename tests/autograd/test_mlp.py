"""The multilayer perceptron as one node equals its layers one by one, in value and in first and second derivatives."""

from itertools import pairwise
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, grad, no_grad, value_and_grad
from tinygen.autograd import Array, linear, lstm, mixture_cdf, mlp, relu, reshape, sigmoid, stack, sum, tanh, transpose
from tinygen.bijections import RationalQuadraticSpline
from tinygen.kernels.runtime.registers import TILE_ROWS
from tinygen.nn import MaskedMLP

# Sums of up to 40 products of order 1, in other orders, and tanh with an error of 5 units in the last place; in float64
# also the order alone.
TOLERANCE: dict[Any, float] = {np.float32: 3e-5, np.float64: 1e-12}


def composed(x: Any, weights: Any, biases: Any, activation: Any) -> Tensor:
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = activation(linear(x, w, b))
    return linear(x, weights[-1], biases[-1])


def operands(sizes: list[int], n: int, dtype: Any, seed: int) -> tuple[Tensor, list[Tensor], list[Tensor], Array]:
    """Return random x, weights, biases and the cotangent of y."""
    rng = np.random.default_rng(seed)
    weights = [Tensor(rng.normal(0, a**-0.5, (a, b)), dtype) for a, b in pairwise(sizes)]
    biases = [Tensor(rng.standard_normal(m), dtype) for m in sizes[1:]]
    x, g = (rng.standard_normal((n, m)).astype(dtype) for m in (sizes[0], sizes[-1]))
    return Tensor(x), weights, biases, g


@given(
    sizes=st.lists(st.sampled_from([1, 2, 7, 16, 33, 40]), min_size=2, max_size=5),
    n=st.sampled_from([0, 1, 7, 8, 9, 30]),
    activation=st.sampled_from([tanh, relu, sigmoid]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_equals_its_layers_one_by_one(sizes: list[int], n: int, activation: Any, dtype: Any, seed: int) -> None:
    x, weights, biases, g = operands(sizes, n, dtype, seed)
    inputs, tolerance = [x, *weights, *biases], TOLERANCE[dtype]
    bound: Any = {"rtol": tolerance, "atol": 10 * tolerance}
    ours, theirs = (f(x, weights, biases, activation) for f in (mlp, composed))
    assert ours.dtype == dtype
    fused = activation is not sigmoid and dtype is np.float32 and n >= TILE_ROWS[0] and len(weights) > 1
    assert ours.op == ("mlp" if fused and not numba.config.DISABLE_JIT else "linear")
    np.testing.assert_allclose(ours.value, theirs.value, **bound)
    first, expected = grad(ours, inputs, g), grad(theirs, inputs, g)
    for a, b in zip(first, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.value, b.value, **bound)
    if activation is relu and dtype is np.float32:
        return  # near a kink, rounding decides between two derivatives
    # The second derivatives, of the sum of the squares of the first
    seconds = []
    for y in (ours, theirs):
        total = sum(stack([(part * part).sum() for part in grad(y, inputs, g, create_graph=True)]))
        seconds.append(grad(total, inputs, allow_unreached=True))
    for a, b in zip(*seconds, strict=True):
        scale = 1 + np.abs(b.value).max(initial=0)
        np.testing.assert_allclose(a.value, b.value, rtol=tolerance, atol=10 * tolerance * scale)


def test_constants_have_no_edges() -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float32, 0)
    y = mlp(x.value, [weights[0].value, weights[1]], [biases[0], biases[1].value])
    if not numba.config.DISABLE_JIT:
        assert {id(parent) for parent, _ in y.edges} == {id(weights[1]), id(biases[0])}
    expected = grad(composed(x, weights, biases, tanh), [weights[1], biases[0]], g)
    for ours, theirs in zip(grad(y, [weights[1], biases[0]], g), expected, strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-5, atol=1e-5)
    with no_grad():
        assert mlp(x, weights, biases).edges == ()


def test_every_cotangent_is_used_and_no_results_share_memory() -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float32, 1)
    y, inputs, results = mlp(x, weights, biases), [x, *weights, *biases], []
    for factor in (1, 2, 1):
        g *= np.float32(factor)  # the same array with other values
        ours, theirs = grad(y, inputs, g), grad(composed(x, weights, biases, tanh), inputs, g)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-4)
        results.append(ours)
    cotangent = Tensor(g)
    results += [grad(y, inputs, cotangent), grad(y, inputs, cotangent)]
    for i, one in enumerate(results):
        for other in results[:i]:
            assert not any(np.shares_memory(a.value, b.value) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("count", range(1, 6))
def test_gradients_of_the_highest_layers_alone(count: int) -> None:
    x, weights, biases, g = operands([4, 5, 6, 7, 2], 20, np.float32, 5)
    chosen = [x, *weights][-count:]
    ours = grad(mlp(x, weights, biases), chosen, g)
    for a, b in zip(ours, grad(composed(x, weights, biases, tanh), chosen, g), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-4)


def test_integers_do_not_promote_a_float32_network() -> None:
    net, x = MaskedMLP(4, 2, np.random.default_rng(0), hidden=(8,)), np.ones((30, 4), np.uint8)
    assert net(x).dtype == np.float32
    np.testing.assert_array_equal(net(x).value, net(x.astype(np.float32)).value)


def derivatives(f: Any, x: Array) -> list[Array]:
    """Return the gradient of a sum of f at x, without and with a graph, and that of the sum of its squares."""
    v = Tensor(x)
    y = f(v)
    g = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
    plain, first = (grad(y, [v], g, create_graph=with_graph)[0] for with_graph in (False, True))
    return [plain.value, first.value, grad((first * first).sum(), [v])[0].value]


def spline(x: Tensor) -> Tensor:
    theta = stack([sigmoid(x) * k for k in range(1, RationalQuadraticSpline(4).width + 1)], -1)
    y, log_det = RationalQuadraticSpline(4).forward(x, theta)
    return stack([y, log_det])


def mixture(x: Tensor) -> Tensor:
    return mixture_cdf(x, stack([x, tanh(x), 0.5 * x, 1 - x, 0.1 * x, -0.2 * x], -1))


def w(x: Tensor) -> Tensor:
    return reshape(x[:9], (3, 3))


def b(x: Tensor) -> Tensor:
    return x[9:12]


def recurrent(x: Tensor) -> Tensor:
    return lstm(x, reshape(tanh(x[0, 0]), (1, 4)))


def twice(x: Tensor) -> Tensor:
    weights, biases, rows = [w(x), tanh(w(x))], [b(x), b(x)], np.ones((12, 3), x.dtype)
    return mlp(mlp(rows, weights, biases), weights, biases)


def repeated(x: Tensor) -> Tensor:
    return mlp(reshape(x, (12, 1)) * np.ones((12, 3), x.dtype), [w(x)] * 2, [b(x)] * 2)


def tied(x: Tensor) -> Tensor:
    return mlp(np.ones((12, 3), x.dtype), [w(x), transpose(w(x))], [b(x), b(x)])


# Operations whose operands are the same or computed from each other. With a graph, each is differentiated as a
# composition of operations.
RELATED = {
    "the same weights twice": repeated,
    "a matrix and its transpose": tied,
    "a network applied to its output": twice,
    "a mixture with parameters from x": mixture,
    "a spline with knots from x": spline,
    "an LSTM with weights from its input": lambda x: recurrent(reshape(x * np.ones((2, 12), x.dtype), (2, 3, 4))),
}


@pytest.mark.parametrize("name", RELATED)
def test_second_derivatives_where_one_operand_is_computed_from_another(name: str) -> None:
    f, x, step = RELATED[name], np.linspace(-0.9, 1.1, 12), 1e-5
    numeric = np.zeros(12)
    for i in range(12):
        above, below = ((derivatives(f, x + sign * step * np.eye(12)[i])[0] ** 2).sum() for sign in (1, -1))
        numeric[i] = (above - below) / (2 * step)
    # In float64, the first derivatives differ by rounding, and the second by the error of the differences.
    for dtype, same, close in ((np.float32, 1e-3, 2e-3), (np.float64, 1e-11, 1e-6)):
        plain, first, second = derivatives(f, x.astype(dtype))
        np.testing.assert_allclose(first, plain, rtol=same, atol=same)
        np.testing.assert_allclose(second, numeric, rtol=close, atol=close * np.abs(numeric).max())


def test_parameters_of_mixed_dtypes_get_gradients_of_the_same_dtypes() -> None:
    x, weights, biases, _ = operands([3, 5, 2], 9, np.float64, 2)
    single = [Tensor(w.value.astype(np.float32)) for w in weights]
    _, gradients = value_and_grad(lambda: mlp(x, single, biases).sum(), [*single, *biases])()
    assert [each.dtype for each in gradients] == [np.float32, np.float32, np.float64, np.float64]


@pytest.mark.parametrize("activation", [tanh, relu])
def test_nan_propagates(activation: Any) -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float32, 4)
    x.value[2, 1] = np.nan
    y = mlp(x, weights, biases, activation)
    np.testing.assert_array_equal(np.isnan(y.value).any(1), np.arange(9) == 2)
    assert np.isnan(grad(y, [weights[0]], g)[0].value).any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16])
@pytest.mark.parametrize("layers", [1, 2])
def test_operands_of_other_dtypes_are_numbers_as_tensors_and_as_arrays(layers: int, dtype: Any) -> None:
    x, ws, bs = np.ones((3, 2), dtype), [np.ones((2, 2), dtype)] * layers, [np.ones(2, dtype)] * layers
    y = mlp(Tensor(x), [Tensor(w) for w in ws], [Tensor(b) for b in bs], relu).value
    np.testing.assert_array_equal(y, mlp(x, ws, bs, relu).value)
    np.testing.assert_array_equal(y, {1: 3, 2: 7}[layers])
