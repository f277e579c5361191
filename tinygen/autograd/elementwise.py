"""Elementwise operations, each with its derivative in the same glance.

In every rule g is the cotangent of y. Rules ignore broadcasting: the engine sums a cotangent to its parent's shape.
Kinks have a stated convention: relu and leaky_relu have at 0 the slope of the left, |x|′(0) = 0, ties of maximum and
minimum share equally.

Checked by: tests/autograd/test_primitives.py
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from ..kernels import activation
from .tensor import Array, Tensor, TensorLike, array_of, attempt, is_grad_enabled, node, primitive, value_of


@primitive
def add(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a + b"""
    return node("add", attempt("add", np.add, [a, b]), (a, lambda g, y: g), (b, lambda g, y: g))


@primitive
def subtract(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a − b"""
    return node("subtract", attempt("subtract", np.subtract, [a, b]), (a, lambda g, y: g), (b, lambda g, y: -g))


@primitive
def multiply(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a b"""
    return node("multiply", attempt("multiply", np.multiply, [a, b]), (a, lambda g, y: g * b), (b, lambda g, y: g * a))


@primitive
def divide(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a / b"""
    return node("divide", attempt("divide", np.divide, [a, b]), (a, lambda g, y: g / b), (b, lambda g, y: -g * y / b))


@primitive
def power(a: TensorLike, b: TensorLike) -> Tensor:
    """y = aᵇ, where ∂y/∂a = 0 if a = b = 0 and ∂y/∂b = 0 if a = 0"""
    return node(  # Python's pow is faster than np.power for squares
        "power",
        attempt("power", pow, [a, b]),
        (a, lambda g, y: g * b * power(a, _one_less(a, b))),
        (b, lambda g, y: g * y * log(where(value_of(a) == 0, 1, a))),
    )


def _one_less(a: TensorLike, b: TensorLike) -> TensorLike:
    """b − 1, but 0 instead of −1 at a = 0, where 0 · a⁻¹ is no number. Elsewhere b · aᵇ⁻¹ has a derivative by b."""
    if isinstance(b, int | float):
        return (b or 1) - 1
    return where((value_of(a) == 0) & (value_of(b) == 0), 1, b) - 1


@primitive
def negative(x: TensorLike) -> Tensor:
    """y = −x"""
    return node("negative", np.negative(value_of(x)), (x, lambda g, y: -g))


@primitive
def exp(x: TensorLike) -> Tensor:
    """y = eˣ"""
    return node("exp", np.exp(value_of(x)), (x, lambda g, y: g * y))


@primitive
def log(x: TensorLike) -> Tensor:
    """y = ln x"""
    return node("log", np.log(value_of(x)), (x, lambda g, y: g / x))


@primitive
def sqrt(x: TensorLike) -> Tensor:
    """y = √x"""
    return node("sqrt", np.sqrt(value_of(x)), (x, lambda g, y: g / (2 * y)))


@primitive
def abs(x: TensorLike) -> Tensor:
    """y = |x|"""
    return node("abs", np.abs(value_of(x)), (x, lambda g, y: g * np.sign(value_of(x))))


@primitive
def sin(x: TensorLike) -> Tensor:
    """y = sin x"""
    return node("sin", np.sin(value_of(x)), (x, lambda g, y: g * cos(x)))


@primitive
def cos(x: TensorLike) -> Tensor:
    """y = cos x"""
    return node("cos", np.cos(value_of(x)), (x, lambda g, y: -g * sin(x)))


@primitive
def tanh(x: TensorLike) -> Tensor:
    """y = tanh x"""

    def rule(g: Tensor, y: Tensor) -> Tensor:
        return g * one_minus_square(y) if is_grad_enabled() else node("tanh_vjp", activation.tanh_vjp(y.value, g.value))

    return node("tanh", np.tanh(value_of(x)), (x, rule))


@primitive
def one_minus_square(x: TensorLike) -> Tensor:
    """y = 1 − x², the slope of tanh where its value is x"""
    v = value_of(x)
    return node("one_minus_square", 1 - v * v, (x, lambda g, y: g * multiply(x, -2)))


@primitive
def sigmoid(x: TensorLike) -> Tensor:
    """y = 1 / (1 + e⁻ˣ), to full relative precision at both ends; so is y′ = σ(x) σ(−x), where 1 − y would be 0"""
    e = np.exp(-np.abs(value_of(x)))  # never above 1, so it cannot overflow
    return node("sigmoid", np.where(value_of(x) < 0, e, 1) / (1 + e), (x, lambda g, y: g * y * sigmoid(negative(x))))


@primitive
def softplus(x: TensorLike) -> Tensor:
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)"""
    v = value_of(x)
    return node("softplus", np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v))), (x, lambda g, y: g * sigmoid(x)))


@primitive
def log_sigmoid(x: TensorLike) -> Tensor:
    """y = ln σ(x) = min(x, 0) − ln(1 + e^−|x|)"""
    v = value_of(x)
    y = np.minimum(v, 0) - np.log1p(np.exp(-np.abs(v)))
    return node("log_sigmoid", y, (x, lambda g, y: g * sigmoid(negative(x))))


@primitive
def relu(x: TensorLike) -> Tensor:
    """y = max(x, 0), with relu′(0) = 0"""
    return node("relu", activation.relu(array_of(x)), (x, relu_vjp))


def relu_vjp(g: Tensor, y: Tensor) -> Tensor:
    """x̄ = g where y > 0, else 0: linear in g, so it is its own VJP."""
    return node("relu_vjp", activation.relu_vjp(y.value, g.value), (g, lambda h, _: relu_vjp(h, y)))


@primitive
def leaky_relu(x: TensorLike, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, slope · x elsewhere (also the derivative at 0)"""
    v = array_of(x)

    def rule(g: Tensor, y: Tensor) -> Tensor:  # linear in g, so its rule is itself
        return node("leaky_relu_vjp", np.where(v > 0, g.value, slope * g.value), (g, rule))

    return node("leaky_relu", np.where(v > 0, v, slope * v), (x, rule))


@primitive
def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """y = max(a, b); a tie gives half of its cotangent to each"""
    y = attempt("maximum", np.maximum, [a, b])
    return node("maximum", y, (a, lambda g, y: g * _won(a, b)), (b, lambda g, y: g * _won(b, a)))


@primitive
def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """y = min(a, b); a tie gives half of its cotangent to each"""
    y = attempt("minimum", np.minimum, [a, b])
    return node("minimum", y, (a, lambda g, y: g * _won(b, a)), (b, lambda g, y: g * _won(a, b)))


def _won(a: TensorLike, b: TensorLike) -> Array:
    """1 where a > b, ½ where a = b, else 0, without widening a float32 graph."""
    a, b = value_of(a), value_of(b)
    return np.where(np.equal(a, b), np.float16(0.5), np.greater(a, b))


@primitive
def clip(x: TensorLike, low: float | Array, high: float | Array) -> Tensor:
    """y = min(max(x, low), high); the cotangent passes where low ≤ x ≤ high"""
    v, low, high = value_of(x), deepcopy(low), deepcopy(high)
    return node("clip", attempt("clip", np.clip, [v, low, high]), (x, lambda g, y: g * ((v >= low) & (v <= high))))


@primitive
def where(condition: Any, a: TensorLike, b: TensorLike) -> Tensor:
    """y = a where the condition holds, b elsewhere"""
    c = array_of(condition).astype(bool)
    y = attempt("where", np.where, [c, a, b])
    return node("where", y, (a, lambda g, y: where(c, g, 0)), (b, lambda g, y: where(c, 0, g)))


@primitive
def astype(x: TensorLike, dtype: Any) -> Tensor:
    """y = x in another floating-point type; the cotangent comes back in x's. Raises TypeError for any other type."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"astype: {np.dtype(dtype)} is not floating-point, it has no derivative; use x.value.astype")
    return node("astype", array_of(x).astype(dtype), (x, lambda g, y: g))
