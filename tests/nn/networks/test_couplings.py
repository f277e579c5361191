"""The networks of coupling layers equal their equations in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised
from helpers.networks import conv

from tinygen.autograd import Array, Tensor, tanh
from tinygen.nn import Linear
from tinygen.nn.networks.couplings import CouplingMLP, GlowNet, ResidualNet


def dense(layer: Linear | None, x: Array) -> Array:
    assert layer is not None
    return np.asarray(x @ layer.w.value + (0 if layer.b is None else layer.b.value))


def mlp(net: CouplingMLP, a: Array, term: Array | float) -> Array:
    h = np.tanh(dense(net.layers[0], a) + term)
    for layer in net.layers[1:]:
        h = np.tanh(dense(layer, h))
    return dense(net.last, h)


def residual(net: ResidualNet, a: Array, term: Array | float) -> Array:
    h = conv(net.first, a) + term
    for inner, outer in net.blocks:
        h = h + conv(outer, np.tanh(conv(inner, np.tanh(h))))
    return conv(net.last, np.tanh(h))


def glow(net: GlowNet, a: Array, term: Array | float) -> Array:
    return conv(net.last, np.tanh(conv(net.middle, np.tanh(conv(net.first, a) + term))))


NETWORKS: dict[str, tuple[Any, dict[str, int], tuple[int, ...], Any]] = {
    "mlp": (CouplingMLP, {"depth": 3}, (2,), mlp),
    "residual": (ResidualNet, {"depth": 2}, (3, 4, 2), residual),
    "glow": (GlowNet, {}, (3, 4, 2), glow),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("context", [0, 2])
def test_network_equals_its_equation(name: str, context: int, rng: np.random.Generator) -> None:
    kind, settings, shape, equation = NETWORKS[name]
    net = randomised(kind(2, 5, rng, hidden=4, context=context, activation=tanh, **settings), rng)
    a, c = rng.normal(size=(3, *shape)), rng.normal(size=(3, context))
    term = dense(net.context_layer, c).reshape(3, *(1,) * (a.ndim - 2), 4) if context else 0.0
    y = net(Tensor(a), c if context else None)
    np.testing.assert_allclose(y.value, equation(net, a, term), rtol=1e-11, atol=1e-12)
