"""MLP: values against NumPy, gradients, initialisation, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised

from tinygen.autograd import Array, tanh
from tinygen.nn import MLP, Linear
from tinygen.testing import check_parameter_grads


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 6)])
@pytest.mark.parametrize("lead", [(7,), (2, 3), (0,)])
def test_values_and_gradients(hidden: tuple[int, ...], lead: tuple[int, ...], rng: np.random.Generator) -> None:
    net, x = MLP(2, hidden, 3, rng, activation=tanh), rng.normal(size=(*lead, 2))
    randomised(net, rng)
    weights, biases = net.parameters()[::2], net.parameters()[1::2]
    assert [w.shape for w in weights] == [*zip((2, *hidden), (*hidden, 3), strict=True)]
    h = x
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = np.tanh(h @ w.value + b.value)
    np.testing.assert_allclose(net(x).value, h @ weights[-1].value + biases[-1].value, rtol=1e-12, atol=1e-12)
    if lead == (7,):
        check_parameter_grads(lambda: (net(x) * net(x)).sum(), net.parameters(), rng=rng)


def test_init_does_not_apply_to_the_last_layer() -> None:
    def ones(shape: tuple[int, ...], fans: tuple[int, int], rng: np.random.Generator) -> Array:
        return np.ones(shape, np.float32)

    net = MLP(2, (5, 4), 3, np.random.default_rng(1), init=ones)
    *hidden, last = net.parameters()[::2]
    assert all(np.all(w.value == 1) for w in hidden)
    np.testing.assert_array_equal(last.value, Linear(4, 3, np.random.default_rng(1)).w.value)


@pytest.mark.parametrize("sizes", [(0, (5,), 3), (2, (5, 0), 3), (2, (), 0)])
def test_rejects_sizes_below_one(sizes: Any, rng: np.random.Generator) -> None:
    n_in, hidden, n_out = sizes
    with pytest.raises(ValueError, match=r"expected .*at least 1, got"):
        MLP(n_in, hidden, n_out, rng)
