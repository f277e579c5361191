"""The multilayer perceptron as one operation, so that all of its layers are one node of the graph.

Layer by layer, every product and activation is a node, with steps in the backward pass. For layers of a few hundred
units, these take about as long as the arithmetic.

Checked by: tests/autograd/test_mlp.py
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from ..kernels import mlp as kernels
from ..kernels.product import product
from ..kernels.reductions import total
from .backward import grad, independent
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

    With `tanh` or `relu`, two or more layers and a few hundred rows of float32, it is one node and one kernel, in which
    tanh has an error of at most 5 units in the last place. Otherwise it is composed of its layers.

    Shapes: x (…, n₀), wₗ (nₗ₋₁, nₗ), bₗ (nₗ,), y (…, nₙ).
    Raises: ValueError unless there are as many biases as weights, at least one, and all shapes match.

    Example:
        >>> mlp([[1.0, 2.0]], [[[1.0], [0.5]], [[2.0]]], [[1.0], [0.25]], relu).value
        array([[6.25]])
    """
    weights, biases = list(weights), list(biases)
    v, ws, bs = floating("mlp", x), [floating("mlp", w) for w in weights], [floating("mlp", b) for b in biases]
    _check_shapes(v, ws, bs)
    given = zip((x, *weights, *biases), (v, *ws, *bs), strict=True)  # booleans and integers are constants
    operands = [t if isinstance(t, Tensor) and t.dtype.kind == "f" else a for t, a in given]
    if v.ndim > 2:
        rows = mlp(reshape(operands[0], (math.prod(v.shape[:-1]), v.shape[-1])), weights, biases, activation)
        return reshape(rows, (*v.shape[:-1], len(bs[-1])))
    name = "tanh" if activation is tanh else "relu" if activation is relu else ""
    if not (name and kernels.applies(v, ws, bs)):
        return _composed(operands, activation)
    *hidden, output = kernels.forward(v, ws, bs, name)
    layers = _Layers([v, *hidden], ws, name)

    def edge(parent: TensorLike, index: int, kernel: Callable[[Tensor], Array]) -> Edge:
        def vjp(g: Tensor, y: Tensor) -> Tensor:
            if is_grad_enabled():
                own = independent(operands)
                return grad(_composed(own, activation), [own[index]], g, create_graph=True)[0]
            return node("mlp_vjp", kernel(g))

        return parent, vjp

    # The lowest layer comes first: it is the first to be asked for its cotangent, which takes those of all others.
    edges, n = [edge(x, 0, layers.of_input)], len(ws)
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        edges += [edge(w, 1 + i, partial(layers.of_weights, i)), edge(b, 1 + n + i, partial(layers.of_bias, i))]
    return node("mlp", output, *edges)


class _Layers:
    """The inputs and weights of all layers, from which the cotangents of the parents are computed."""

    def __init__(self, inputs: list[Array], weights: list[Array], activation: str) -> None:
        self.inputs, self.weights, self.activation = inputs, weights, activation
        # The last cotangent of y, and the cotangents of the outputs of the highest layers, before their activations
        self.last: tuple[Tensor | None, list[Array]] = None, []

    def of_output(self, i: int, g: Tensor) -> Array:
        given, cotangents = self.last
        if given is not g or len(cotangents) < len(self.weights) - i:
            cotangents = kernels.backward(g.value, self.inputs, self.weights, self.activation, i)
            self.last = g, cotangents
        return cotangents[i - len(self.weights)]

    def of_weights(self, i: int, g: Tensor) -> Array:
        return product(self.inputs[i].T, self.of_output(i, g))

    def of_bias(self, i: int, g: Tensor) -> Array:
        return total(self.of_output(i, g), (0,)).astype(g.dtype, copy=False)

    def of_input(self, g: Tensor) -> Array:
        by_input, *cotangents = kernels.backward(g.value, self.inputs, self.weights, self.activation, -1)
        self.last = g, cotangents
        return by_input


def _composed(operands: Sequence[TensorLike], activation: Activation) -> Tensor:
    """Compute the same layer by layer; the operands are x, all weights and all biases."""
    h, n = operands[0], len(operands) // 2
    for i in range(1, n):
        h = activation(linear(h, operands[i], operands[n + i]))
    return linear(h, operands[n], operands[2 * n])


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
