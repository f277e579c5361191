"""Masks that make a network autoregressive: every unit has a degree, and a connection never leads to a lower one.

A unit of degree m sees at most the first m variables of the order. Input d of the order is the d-th variable, so it has
degree d; the output for that variable may see the d − 1 before it, so it takes hidden units of degrees below d:

    M[j, k] = 1 if m(k) ≥ m(j)     from an input or a hidden unit j to a hidden unit k
    M[k, d] = 1 if d > m(k)        from a hidden unit k to output d

Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015, section 4.
Checked by: tests/nn/test_masks.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, concatenate, conv, linear, matmul, relu
from ..autograd.taps import Taps
from ..autograd.tensor import array_of
from ..checks import at_least, check_context, check_counts, check_event
from ..kernels import product
from .cache import ActivationCache
from .init import glorot_uniform
from .layers import Activation, Conv, Linear, activated
from .module import Module

Rng = np.random.Generator


def degrees(order: Sequence[int] | Array, hidden: Sequence[int], rng: Rng | None = None, least: int = 1) -> list[Array]:
    """Return the degree of every variable, and of every unit of each hidden layer: least … D − 1.

    Hidden degrees are spread evenly, so that D − least units are enough for every one to occur; with an rng they are
    drawn at random. None is below the least of the layer before: it would see nothing. A unit of degree 0 sees no
    variable, but a context if there is one. With D = 1 there is nothing to be seen, so 0 is every unit's degree.

    Shapes: order, a permutation of 0 … D−1, the first one drawn first; result [(D,), (hidden[0],), …] of int32.
    Raises ValueError if the order is no permutation or a hidden layer has no unit.
    """
    if hidden:
        check_counts("hidden", hidden)
    order = np.asarray(order)
    variables = order.size
    if order.ndim != 1 or variables < 1 or not np.array_equal(np.sort(order), np.arange(variables)):
        raise ValueError(f"order: expected a permutation of 0…{variables - 1}, got {order}")
    found = [np.argsort(order) + 1]
    least = min(least, variables - 1)
    for units in hidden:
        if rng is None:  # in the middles of equal parts of least … D
            found.append(least + (2 * np.arange(units) + 1) * (variables - least) // (2 * units))
        else:
            found.append(rng.integers(least, variables, units))
        least = found[-1].min()
    return [each.astype(np.int32) for each in found]


def masks(degrees: Sequence[Array], width: int = 1) -> list[Array]:
    """Return the mask of each layer between units of these degrees, and of the output layer: boolean (n_in, n_out).

    The outputs are `width` numbers for each variable, those of one variable beside each other. Without hidden layers,
    the one mask is that of a direct connection from the variables to the outputs.
    """
    outputs = np.repeat(degrees[0], width)
    between = [after >= before[:, None] for before, after in pairwise(degrees)]
    return [*between, outputs > degrees[-1][:, None]]


class MaskedLinear(Module):
    """y = residual + x (w ⊙ mask) + b, without a mask residual + x w + b; if `relu`, relu of that

    With a `cache`, the masked weights are computed once and kept there.

    Shapes: x (…, n_in), w and mask (n_in, n_out), b (n_out,), y (…, n_out), to which residual broadcasts.
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng, bias: bool = True, relu: bool = False) -> None:
        self.w = Parameter(glorot_uniform((n_in, n_out), (n_in, n_out), rng))
        self.b = Parameter(np.zeros(n_out)) if bias else None
        self.relu = relu

    def weights(self, mask: Array | None = None) -> Tensor:
        """w ⊙ mask, or without a mask w."""
        return self.w if mask is None else self.w * mask

    def __call__(
        self, x: TensorLike, mask: Array | None, cache: ActivationCache | None = None, residual: TensorLike = 0.0
    ) -> Tensor:
        if cache is not None:
            return cache.linear(self, x, residual, mask)
        w = self.weights(mask)
        alone = isinstance(residual, float) and residual == 0
        if self.b is not None and alone:
            return linear(x, w, self.b, self.relu)
        y = matmul(x, w) if self.b is None else linear(x, w, self.b)
        y = y if alone else y + residual
        return relu(y) if self.relu else y


class MaskedConv(Module):
    """y(p) = relu(residual + b + Σₒ x(p + o) wₒ + x(p) (v ⊙ mask)), over taps o that leave out the position p itself

    There alone the mask over channels matters: what is earlier is seen whole. A `cache` is used as in a Conv.

    Shapes: x (N, H, W, n_in), v and mask (n_in, n_out), y (N, H, W, n_out), to which residual broadcasts.
    """

    stride, relu = 1, True

    def __init__(self, n_in: int, n_out: int, taps: Taps, rng: Rng) -> None:
        self.earlier, self.here = Conv(n_in, n_out, taps, rng, bias=False), MaskedLinear(n_in, n_out, rng)
        self.taps = (*taps, (0,) * len(taps[0]))

    @property
    def b(self) -> Parameter | None:
        return self.here.b

    def weights(self, mask: Array | None = None) -> Tensor:
        """All of the taps' weights, (taps, n_in, n_out), of which those of the last tap are masked."""
        return concatenate([self.earlier.w, self.here.weights(mask).reshape(1, *self.here.w.shape)])

    def __call__(
        self, x: TensorLike, mask: Array | None, cache: ActivationCache | None = None, residual: TensorLike = 0.0
    ) -> Tensor:
        if cache is not None:
            return cache.conv(self, x, residual, mask)
        bias = 0.0 if self.b is None else self.b
        return conv(x, self.weights(mask), self.taps, residual=residual, bias=bias, relu=True)


class MaskedMLP(Module):
    """`width` numbers for each of D variables, computed from those before it in the order and from a context c.

        h₀ = x,   hₗ = activation(hₗ₋₁ (Wₗ ⊙ Mₗ) + bₗ + c Uₗ),   y = h (W ⊙ M) + b + c U  [+ x (A ⊙ M′)]

    The last term is there if `direct`. Of several `orders`, each with masks of its own, `which` chooses one per call;
    they share the weights. One order (by default 0 … D−1) has its degrees spread evenly, several have random ones.

    Shapes: x (N, D), c (N, context), y (N, D, width); the order is `net.order(which)` (D,), first drawn first.
    Raises ValueError, naming the argument, if a setting makes no network or an argument does not fit it.
    Source: as above; the context is an input to every layer, and units of degree 0 see nothing else.
    Checked by: tests/nn/test_masks.py
    """

    def __init__(
        self,
        variables: int,
        width: int,
        rng: Rng,
        *,
        hidden: Sequence[int] = (500, 500),
        orders: Sequence[Sequence[int] | Array] | None = None,
        context: int = 0,
        activation: Activation = relu,
        direct: bool = False,
    ) -> None:
        at_least(1, variables=variables, width=width)
        at_least(0, context=context)
        orders = [np.arange(variables)] if orders is None else orders
        if not orders or any(len(order) != variables for order in orders):
            raise ValueError(f"orders: expected at least one, each of {variables} variables, got {orders}")
        sampled, least = rng if len(orders) > 1 else None, 0 if context else 1
        self.degrees = [degrees(order, hidden, sampled, least) for order in orders]
        self.variables, self.width, self.context, self.activation = variables, width, context, activation
        sizes = [variables, *hidden, variables * width]
        self.layers = [MaskedLinear(a, b, rng) for a, b in pairwise(sizes)]
        self.direct = MaskedLinear(variables, sizes[-1], rng, bias=False) if direct else None
        self.context_layers = [Linear(context, size, rng, bias=False) for size in sizes[1:]] if context else []

    def order(self, which: int = 0) -> Array:
        """Return the variables in the order in which they are to be drawn, (D,)."""
        return np.argsort(self.degrees[which][0])

    def weights(self, which: int = 0) -> list[Tensor]:
        """W ⊙ M of each layer, and at last A ⊙ M′ if there is one: for who evaluates the net more than once."""
        own = self.degrees[which]
        found = [layer.w * mask for layer, mask in zip(self.layers, self._masks(own), strict=True)]
        return found if self.direct is None else [*found, self.direct.w * self._masks(own[:1])[0]]

    def __call__(
        self,
        x: TensorLike,
        context: TensorLike | None = None,
        which: int = 0,
        *,
        weights: Sequence[Tensor] | None = None,
        variable: int | None = None,
    ) -> Tensor:
        """Return y (N, D, width), or only that of one variable, (N, width)."""
        self._check(x, context)
        weights = self.weights(which) if weights is None else weights
        told = [None if context is None else u(context) for u in self.context_layers] or [None] * len(self.layers)
        h: Any = x
        biases: list[Any] = [layer.b for layer in self.layers]
        for w, b, c in zip(weights[: len(biases) - 1], biases, told, strict=False):
            h = self._layer(h, w, b, c)

        def wanted(outputs: Any) -> Any:
            return outputs if variable is None else outputs[..., variable * self.width : (variable + 1) * self.width]

        last = len(biases) - 1
        y = linear(h, wanted(weights[last]), wanted(biases[last]))
        if told[last] is not None:
            y = y + wanted(told[last])
        if self.direct is not None:
            y = y + matmul(x, wanted(weights[last + 1]))
        return y if variable is not None else y.reshape(-1, self.variables, self.width)

    def one_by_one(self, x: Array, context: Array | None = None, which: int = 0) -> Iterator[tuple[int, Array]]:
        """Yield each variable in its order and its numbers (N, width), from what x (N, D) then holds of those before.

        The caller fills in x[:, variable] before asking for the next. A unit is evaluated as soon as the variables that
        it sees are known, once: all in all as many products as in one call, without a derivative.
        """
        self._check(x, context)
        own, dtype = self.degrees[which], self.dtype
        weights = [layer.w.value * mask for layer, mask in zip(self.layers, self._masks(own), strict=True)]
        biases: list[Array] = [array_of(layer.b) for layer in self.layers]
        told = None if context is None else [u(context).value for u in self.context_layers]
        h = [x, *(np.zeros((len(x), len(units)), dtype) for units in own[1:])]
        for degree, variable in enumerate(self.order(which)):
            for i, units in enumerate(own[1:]):
                now = _places(units == degree)
                if now is None:
                    continue
                w, b = weights[i][:, now], biases[i][now]
                c = None if told is None else told[i][:, now]
                h[i + 1][:, now] = self._layer(h[i], w, b, c).value
            outputs = slice(variable * self.width, (variable + 1) * self.width)
            y = product(h[-1], weights[-1][:, outputs], biases[-1][outputs])
            if told is not None:
                y = y + told[-1][:, outputs]
            if self.direct is not None:
                seen = own[0] <= degree
                y = y + product(x[:, seen], self.direct.w.value[seen, outputs])
            yield int(variable), y

    def _masks(self, degrees: Sequence[Array]) -> list[Array]:
        return _masks(tuple(each.tobytes() for each in degrees), self.width, self.layers[0].w.dtype)

    def _layer(self, h: TensorLike, w: TensorLike, b: TensorLike, told: TensorLike | None) -> Tensor:
        return activated(h, w, b, self.activation) if told is None else self.activation(linear(h, w, b) + told)

    def _check(self, x: TensorLike, context: TensorLike | None) -> None:
        check_event("x", x, (self.variables,))
        check_context(context, len(array_of(x)), self.context)


@lru_cache(maxsize=8)
def _masks(degrees: tuple[bytes, ...], width: int, dtype: np.dtype[Any]) -> list[Array]:
    """Those of `masks`, as numbers 0 and 1, by which to multiply takes a quarter of what it takes by booleans."""
    return [mask.astype(dtype) for mask in masks([np.frombuffer(each, np.int32) for each in degrees], width)]


def _places(chosen: Array) -> Any:
    """Where it is True: as a slice, by which nothing is copied, if that is one stretch; None if it nowhere is."""
    places = np.flatnonzero(chosen)
    if not len(places):
        return None
    beside = places[-1] - places[0] == len(places) - 1
    return slice(places[0], places[-1] + 1) if beside else places
