"""Masked layers: MaskedLinear and MaskedConv, and MaskedMLP, the network of MADE. See `nn.made_masks` for the masks.

Checked by: tests/nn/test_masked.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, concatenate, conv, linear, matmul, mlp, relu
from ..autograd.taps import Taps
from ..autograd.tensor import array_of
from ..checks import at_least, broadcasts, check_array, check_context, check_counts, check_event, require
from ..kernels import product
from .cache import ActivationCache
from .init import glorot_uniform
from .layers import Activation, Conv, Linear, cast_integers, linear_with_activation, masked
from .made_masks import Order, made_degrees, made_masks
from .module import Module

Rng = np.random.Generator


class MaskedLinear(Module):
    """Linear layer whose weights are multiplied by a mask: y = residual + x (w ⊙ mask) + b, or relu of it.

    The mask is an argument of the call; None means no mask. With a `cache`, the masked weights are computed once.

    Shapes: x (…, n_in), w and mask (n_in, n_out), b (n_out,), y (…, n_out); residual broadcasts to y.

    Example:
        >>> layer = MaskedLinear(3, 2, np.random.default_rng(0))
        >>> layer(np.ones((5, 3)), np.array([[0, 1], [0, 0], [1, 1]])).shape
        (5, 2)
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng, bias: bool = True, relu: bool = False) -> None:
        at_least(1, n_in=n_in, n_out=n_out)
        self.w = Parameter(glorot_uniform((n_in, n_out), (n_in, n_out), rng))
        self.b = Parameter(np.zeros(n_out)) if bias else None
        self.relu = relu

    def weights(self, mask: Array | None = None) -> Tensor:
        """Return w ⊙ mask, or w if there is no mask."""
        return masked(self.w, mask)

    def __call__(
        self, x: TensorLike, mask: Array | None, cache: ActivationCache | None = None, residual: TensorLike = 0.0
    ) -> Tensor:
        if cache is not None:
            return cache.evaluate(self, x, residual, mask)
        x, w = cast_integers(x, self.w.dtype), self.weights(mask)
        added = None if isinstance(residual, float) and residual == 0 else residual
        if self.b is not None:
            return linear(x, w, self.b, self.relu, added)
        y = matmul(x, w)
        if added is not None:
            shape = array_of(added).shape
            require(broadcasts(shape, y.shape), "residual", f"a shape that broadcasts to {y.shape}", shape)
            y = y + added
        return relu(y) if self.relu else y


class MaskedConv(Module):
    """Masked convolution of the PixelCNN: y(p) = relu(residual + b + Σₒ x(p + o) wₒ + x(p) (v ⊙ mask)).

    The taps o must leave out the centre pixel p. All channels of the pixels p + o are used; the mask (A or B) selects
    among the channels of p. A `cache` is used as in `Conv`.

    Shapes: x (N, H, W, n_in), v and mask (n_in, n_out), y (N, H, W, n_out); residual broadcasts to y.
    Raises: ValueError if n_in or n_out is below 1, or if the taps contain the centre.
    """

    stride, relu = 1, True

    def __init__(self, n_in: int, n_out: int, taps: Taps, rng: Rng) -> None:
        self.earlier, self.centre = Conv(n_in, n_out, taps, rng, bias=False), MaskedLinear(n_in, n_out, rng)
        zero = (0,) * len(self.earlier.taps[0])
        require(zero not in self.earlier.taps, "taps", f"offsets other than {zero}, which the mask is for", taps)
        self.taps = (*self.earlier.taps, zero)

    @property
    def b(self) -> Parameter | None:
        return self.centre.b

    def weights(self, mask: Array | None = None) -> Tensor:
        """Return the weights of all taps (taps, n_in, n_out); those of the last tap, the centre, are masked."""
        return concatenate([self.earlier.w, self.centre.weights(mask).reshape(1, *self.centre.w.shape)])

    def __call__(
        self, x: TensorLike, mask: Array | None, cache: ActivationCache | None = None, residual: TensorLike = 0.0
    ) -> Tensor:
        if cache is not None:
            return cache.evaluate(self, x, residual, mask)
        bias = 0.0 if self.b is None else self.b
        return conv(x, self.weights(mask), self.taps, residual=residual, bias=bias, relu=True)


class MaskedMLP(Module):
    """Fully connected network with MADE masks: the outputs of a variable depend on earlier variables and a context c.

        h₀ = x,   hₗ = activation(hₗ₋₁ (Wₗ ⊙ Mₗ) + bₗ + c Uₗ),   y = h (W ⊙ M) + b + c U  [+ x (A ⊙ M′)]

    Several orders of the variables share the weights but not the masks. Degrees are spread evenly if there is one
    order, random if there are several. With a context, some hidden units have degree 0 and depend on the context alone.

    Args:
        variables: number of variables D.
        width: number of outputs per variable.
        hidden: number of units in each hidden layer.
        orders: permutations of 0…D−1, each in sampling order; by default a single one, 0…D−1.
        context: size of the context vector, 0 for none.
        direct: add direct connections from the inputs to the outputs, the term x (A ⊙ M′).

    Shapes: x (N, D), c (N, context), y (N, D, width).
    Raises: ValueError if an argument of the constructor is invalid, or if x or the context has the wrong shape.
    Source: as for `nn.made_masks`.

    Example:
        >>> net = MaskedMLP(4, 2, np.random.default_rng(0), hidden=(16,))
        >>> net(np.zeros((5, 4))).shape
        (5, 4, 2)
    """

    def __init__(
        self,
        variables: int,
        width: int,
        rng: Rng,
        *,
        hidden: Sequence[int] = (500, 500),
        orders: Sequence[Order] | None = None,
        context: int = 0,
        activation: Activation = relu,
        direct: bool = False,
    ) -> None:
        at_least(1, variables=variables, width=width)
        at_least(0, context=context)
        orders = [np.arange(variables)] if orders is None else orders
        if not len(orders) or any(np.shape(order) != (variables,) for order in orders):
            raise ValueError(f"orders: expected at least one, each of {variables} variables, got {orders}")
        degree_rng, lowest = rng if len(orders) > 1 else None, 0 if context else 1
        check_counts("hidden", hidden, least=0)
        self.degrees = [made_degrees(order, hidden, degree_rng, lowest) for order in orders]
        self.variables, self.width, self.context, self.activation = variables, width, context, activation
        sizes = [variables, *hidden, variables * width]
        self.layers = [MaskedLinear(a, b, rng) for a, b in pairwise(sizes)]
        self.direct = MaskedLinear(variables, sizes[-1], rng, bias=False) if direct else None
        self.context_layers = [Linear(context, size, rng, bias=False) for size in sizes[1:]] if context else []

    def order(self, order_index: int = 0) -> Array:
        """Return the variables in the order in which they are sampled, (D,)."""
        return np.argsort(self._degrees(order_index)[0])

    def weights(self, order_index: int = 0) -> list[Tensor]:
        """Return W ⊙ M of every layer, then A ⊙ M′ if there are direct connections."""
        degrees = self._degrees(order_index)
        weights = [layer.w * mask for layer, mask in zip(self.layers, self._masks(degrees), strict=True)]
        return weights if self.direct is None else [*weights, self.direct.w * self._masks(degrees[:1])[0]]

    def __call__(
        self,
        x: TensorLike,
        context: TensorLike | None = None,
        order_index: int = 0,
        *,
        weights: Sequence[Tensor] | None = None,
        variable: int | None = None,
    ) -> Tensor:
        """Return y (N, D, width), or the outputs of one variable (N, width).

        Args:
            order_index: which of the orders to use.
            weights: the result of `weights(order_index)`, so that repeated calls mask the weights only once.
            variable: compute only the outputs of this variable.

        Raises: ValueError if an argument has the wrong shape, or an index is not in range.
        """
        self._check(x, context)
        at_least(0, variable=variable or 0)
        require(variable is None or variable < self.variables, "variable", f"None or below {self.variables}", variable)
        x = cast_integers(x, self.layers[0].w.dtype)
        weights = self.weights(order_index) if weights is None else weights
        count = len(self.layers) + (self.direct is not None)
        require(len(weights) == count, "weights", f"{count} tensors, as `weights` returns", len(weights))

        def select(outputs: Any) -> Any:
            return outputs if variable is None else outputs[..., variable * self.width : (variable + 1) * self.width]

        n, biases = len(self.layers) - 1, [layer.b for layer in self.layers]
        ws, bs = [*weights[:n], select(weights[n])], [*biases[:n], select(biases[n])]
        if context is None:
            y = mlp(x, ws, bs, self.activation)
        else:
            *added, last = [layer(context) for layer in self.context_layers]
            h: Any = x
            for w, b, c in zip(ws[:-1], bs[:-1], added, strict=True):
                h = self._layer(h, w, b, c)
            y = linear(h, ws[-1], bs[-1], residual=select(last))
        if self.direct is not None:
            y = y + matmul(x, select(weights[-1]))
        return y if variable is not None else y.reshape(-1, self.variables, self.width)

    def one_by_one(self, x: Array, context: Array | None = None, order_index: int = 0) -> Iterator[tuple[int, Array]]:
        """Yield each variable in order with its outputs (N, width), for ancestral sampling.

        The caller must set x[:, variable] before requesting the next variable. Every hidden unit is evaluated once, as
        soon as all variables that it depends on are known, so iterating takes as many multiplications as one call.
        Gradients are not recorded.
        """
        check_array("x", x)
        self._check(x, context)
        degrees = self._degrees(order_index)
        weights = [layer.w.value * mask for layer, mask in zip(self.layers, self._masks(degrees), strict=True)]
        biases: list[Array] = [array_of(layer.b) for layer in self.layers]
        contexts = None if context is None else [layer(context).value for layer in self.context_layers]
        h = [x, *(np.zeros((len(x), len(units)), self.dtype) for units in degrees[1:])]
        for degree, variable in enumerate(self.order(order_index)):
            for i, units in enumerate(degrees[1:]):
                ready = _indices(units == degree)
                if ready is None:
                    continue
                c = None if contexts is None else contexts[i][:, ready]
                h[i + 1][:, ready] = self._layer(h[i], weights[i][:, ready], biases[i][ready], c).value
            outputs = slice(variable * self.width, (variable + 1) * self.width)
            y = product(h[-1], weights[-1][:, outputs], biases[-1][outputs])
            if contexts is not None:
                y = y + contexts[-1][:, outputs]
            if self.direct is not None:
                known = degrees[0] <= degree
                y = y + product(x[:, known], self.direct.w.value[known, outputs])
            yield int(variable), y

    def _degrees(self, order_index: int) -> list[Array]:
        """Return the degrees of the units of all layers, for one of the orders."""
        at_least(0, order_index=order_index)
        require(order_index < len(self.degrees), "order_index", f"below {len(self.degrees)}", order_index)
        return self.degrees[order_index]

    def _masks(self, degrees: Sequence[Array]) -> list[Array]:
        return _float_masks(tuple(each.tobytes() for each in degrees), self.width, self.layers[0].w.dtype)

    def _layer(self, h: TensorLike, w: TensorLike, b: Any, c: TensorLike | None) -> Tensor:
        if c is None:
            return linear_with_activation(h, w, b, self.activation)
        return self.activation(linear(h, w, b, residual=c))

    def _check(self, x: TensorLike, context: TensorLike | None) -> None:
        check_event("x", x, (self.variables,))
        check_context(context, len(array_of(x)), self.context)


@lru_cache(maxsize=8)
def _float_masks(degrees: tuple[bytes, ...], width: int, dtype: np.dtype[Any]) -> list[Array]:
    """Return `made_masks` in the dtype of the weights, because multiplying by booleans is slower."""
    return [mask.astype(dtype) for mask in made_masks([np.frombuffer(each, np.int32) for each in degrees], width)]


def _indices(chosen: Array) -> Any:
    """Return the indices where `chosen` is true: a slice if they are contiguous (no copy), None if there are none."""
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return None
    contiguous = indices[-1] - indices[0] == len(indices) - 1
    return slice(indices[0], indices[-1] + 1) if contiguous else indices
