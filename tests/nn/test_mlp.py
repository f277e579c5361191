"""The multilayer perceptron, beside the same formula in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array, tanh
from tinygen.nn import MLP, Linear
from tinygen.testing import check_parameter_grads


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 6)])
@pytest.mark.parametrize("lead", [(7,), (2, 3), (0,)])
def test_linear_layers_with_an_activation_between(
    hidden: tuple[int, ...], lead: tuple[int, ...], rng: np.random.Generator
) -> None:
    network, x = MLP(2, hidden, 3, rng, activation=tanh).astype(np.float64), rng.normal(size=(*lead, 2))
    for parameter in network.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    weights, biases = network.parameters()[::2], network.parameters()[1::2]
    assert [w.shape for w in weights] == [*zip((2, *hidden), (*hidden, 3), strict=True)]
    h = x
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = np.tanh(h @ w.value + b.value)
    np.testing.assert_allclose(network(x).value, h @ weights[-1].value + biases[-1].value, rtol=1e-12, atol=1e-12)
    if lead == (7,):
        check_parameter_grads(lambda: (network(x) * network(x)).sum(), network.parameters(), rng=rng)


def test_the_last_layer_starts_as_a_linear_layer_does(rng: np.random.Generator) -> None:
    def ones(shape: tuple[int, ...], fans: tuple[int, int], rng: np.random.Generator) -> Array:
        return np.ones(shape, np.float32)

    network = MLP(2, (5, 4), 3, np.random.default_rng(1), init=ones)
    *before, last = network.parameters()[::2]
    assert all(np.all(w.value == 1) for w in before)
    np.testing.assert_array_equal(last.value, Linear(4, 3, np.random.default_rng(1)).w.value)


@pytest.mark.parametrize("sizes", [(0, (5,), 3), (2, (5, 0), 3), (2, (), 0)])
def test_sizes_of_nothing_are_refused(sizes: Any, rng: np.random.Generator) -> None:
    n_in, hidden, n_out = sizes
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        MLP(n_in, hidden, n_out, rng)
