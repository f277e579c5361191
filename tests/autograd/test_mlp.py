"""The multilayer perceptron as one node equals its layers one by one, in value and in first and second derivatives."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, grad, no_grad, value_and_grad
from tinygen.autograd import Array, linear, mlp, relu, sigmoid, tanh

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
    assert ours.op == ("linear" if activation is sigmoid else "mlp")
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
        total = sum(((part * part).sum() for part in grad(y, inputs, g, create_graph=True)), Tensor(0.0))
        seconds.append(grad(total, inputs, allow_unreached=True))
    for a, b in zip(*seconds, strict=True):
        scale = 1 + np.abs(b.value).max(initial=0)
        np.testing.assert_allclose(a.value, b.value, rtol=tolerance, atol=10 * tolerance * scale)


def test_one_edge_for_each_tensor_and_none_for_constants() -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float32, 0)
    y = mlp(x.value, [weights[0].value, weights[1]], [biases[0], biases[1].value])
    assert [parent for parent, _ in y.edges] == [weights[1], biases[0]]
    expected = grad(composed(x, weights, biases, tanh), [weights[1], biases[0]], g)
    for ours, theirs in zip(grad(y, [weights[1], biases[0]], g), expected, strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-5, atol=1e-5)
    with no_grad():
        assert mlp(x, weights, biases).edges == ()


def test_a_second_cotangent_is_not_answered_with_the_first() -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float64, 1)
    y = mlp(x, weights, biases)
    for cotangent in (g, 2 * g, g):
        ours, theirs = grad(y, [x], cotangent)[0], grad(composed(x, weights, biases, tanh), [x], cotangent)[0]
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-12, atol=1e-12)


def test_parameters_of_mixed_dtypes_get_gradients_of_their_own() -> None:
    x, weights, biases, _ = operands([3, 5, 2], 9, np.float64, 2)
    single = [Tensor(w.value.astype(np.float32)) for w in weights]
    _, gradients = value_and_grad(lambda: mlp(x, single, biases).sum(), [*single, *biases])()
    assert [each.dtype for each in gradients] == [np.float32, np.float32, np.float64, np.float64]


def test_an_operand_may_occur_twice() -> None:
    rng = np.random.default_rng(3)
    x, w, b = (Tensor(rng.standard_normal(shape)) for shape in ((9, 4), (4, 4), 4))
    ours = grad(mlp(x, [w, w], [b, b]), [w, b], np.ones((9, 4)))
    theirs = grad(composed(x, [w, w], [b, b], tanh), [w, b], np.ones((9, 4)))
    for a, c in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.value, c.value, rtol=1e-12)


@pytest.mark.parametrize("activation", [tanh, relu])
def test_nan_propagates(activation: Any) -> None:
    x, weights, biases, g = operands([3, 5, 2], 9, np.float32, 4)
    x.value[2, 1] = np.nan
    y = mlp(x, weights, biases, activation)
    np.testing.assert_array_equal(np.isnan(y.value).any(1), np.arange(9) == 2)
    assert np.isnan(grad(y, [weights[0]], g)[0].value).any()
