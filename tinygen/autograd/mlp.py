"""The multilayer perceptron as one operation, so that all of its layers are one node of the graph.

Layer by layer, every product, bias and activation has nodes of its own in the forward and the backward pass. For layers
of a few hundred units, these take about as long as the arithmetic.

Checked by: tests/autograd/test_mlp.py
"""

import math
from collections.abc import Callable, Sequence

from ..kernels import mlp as kernels
from ..kernels.product import product
from ..kernels.reductions import total
from .backward import grad
from .elementwise import relu, tanh
from .grad_mode import is_grad_enabled
from .linalg import linear
from .operands import floating
from .shape import reshape
from .tensor import Array, Edge, Tensor, TensorLike, node, primitive

Activation = Callable[[TensorLike], Tensor]


@primitive
def mlp(
    x: TensorLike, weights: Sequence[TensorLike], biases: Sequence[TensorLike], activation: Activation = tanh
) -> Tensor:
    """Multilayer perceptron: h₀ = x, hₗ = activation(hₗ₋₁ wₗ + bₗ), y = hₙ₋₁ wₙ + bₙ.

    It is one node if the activation is `tanh` or `relu`; otherwise every layer has its own.

    Shapes: x (…, n₀), wₗ (nₗ₋₁, nₗ), bₗ (nₗ,), y (…, nₙ).
    Raises: ValueError unless there are as many biases as weights, at least one, and all shapes match.

    Example:
        >>> mlp([[1.0, 2.0]], [[[1.0], [0.5]], [[2.0]]], [[1.0], [0.25]], relu).value
        array([[6.25]])
    """
    weights, biases = list(weights), list(biases)
    v, ws, bs = floating("mlp", x), [floating("mlp", w) for w in weights], [floating("mlp", b) for b in biases]
    _check_shapes(v, ws, bs)
    if activation is not tanh and activation is not relu:
        return _composed(x, weights, biases, activation)
    if v.ndim != 2:
        rows = mlp(reshape(x, (math.prod(v.shape[:-1]), v.shape[-1])), weights, biases, activation)
        return reshape(rows, (*v.shape[:-1], len(bs[-1])))
    name, lowest = "tanh" if activation is tanh else "relu", -1 if isinstance(x, Tensor) else 0
    *hidden, output = kernels.forward(v, ws, bs, name)
    layers = _Layers([v, *hidden], ws, name, lowest)

    def edge(parent: TensorLike, cotangent: Callable[[Array], Array]) -> Edge:
        def vjp(g: Tensor, y: Tensor) -> Tensor:
            if is_grad_enabled():
                layers.graph = layers.graph or [_composed(x, weights, biases, activation)]
                return grad(layers.graph[0], [parent], g, create_graph=True)[0]  # type: ignore[list-item]  # a Tensor
            return node("mlp_vjp", cotangent(g.value))

        return parent, vjp

    edges = [edge(x, layers.of_input)]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        edges += [edge(b, layers.of_bias(i)), edge(w, layers.of_weights(i))]
    return node("mlp", output, *reversed(edges))


class _Layers:
    """The inputs and weights of all layers, from which the cotangents of the parents are computed."""

    def __init__(self, inputs: list[Array], weights: list[Array], activation: str, lowest: int) -> None:
        self.inputs, self.weights, self.activation, self.lowest = inputs, weights, activation, lowest
        self.graph: list[Tensor] = []  # the same function layer by layer, for derivatives of derivatives
        self.given: Array | None = None  # the cotangent of y that `cotangents` was computed from
        self.cotangents: list[Array] = []

    def of_output(self, i: int, g: Array) -> Array:
        """Return the cotangent of the output of layer i, before its activation; −1 stands for the input x."""
        if self.given is not g:
            self.cotangents = kernels.backward(g, self.inputs, self.weights, self.activation, self.lowest)
            self.given = g
        return self.cotangents[i - self.lowest]

    def of_weights(self, i: int) -> Callable[[Array], Array]:
        return lambda g: product(self.inputs[i].T, self.of_output(i, g))

    def of_bias(self, i: int) -> Callable[[Array], Array]:
        return lambda g: total(self.of_output(i, g), (0,)).astype(g.dtype, copy=False)

    def of_input(self, g: Array) -> Array:
        return self.of_output(-1, g)


def _composed(
    x: TensorLike, weights: Sequence[TensorLike], biases: Sequence[TensorLike], activation: Activation
) -> Tensor:
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = activation(linear(x, w, b))
    return linear(x, weights[-1], biases[-1])


def _check_shapes(x: Array, weights: list[Array], biases: list[Array]) -> None:
    if not 0 < len(weights) == len(biases):
        got = f"{len(weights)} and {len(biases)}"
        raise ValueError(f"mlp: weights and biases: expected the same number, at least one, got {got}")
    n = x.shape[-1:]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if w.ndim != 2 or (w.shape[:1] != n and i > 0):
            raise ValueError(f"mlp: weights[{i}]: expected shape ({n[0] if i else 'n'}, m), got {w.shape}")
        if w.shape[:1] != n:
            raise ValueError(f"mlp: x: expected shape (…, {len(w)}) for weights {w.shape}, got {x.shape}")
        if b.shape != w.shape[1:]:
            raise ValueError(f"mlp: biases[{i}]: expected shape {w.shape[1:]}, got {b.shape}")
        n = b.shape
