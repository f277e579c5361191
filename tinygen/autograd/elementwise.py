"""Elementwise operations, each with its VJPs.

In a VJP, g is the cotangent of y. VJPs ignore broadcasting: `grad` sums a cotangent to the shape of its parent.

Conventions at kinks: relu and leaky_relu have their left derivative at 0, |x|′(0) = 0, and maximum and minimum split
the cotangent of a tie equally.

Checked by: tests/autograd/test_primitives.py
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..kernels import activation
from ..kernels import elementwise as kernels
from .grad_mode import is_grad_enabled
from .operands import apply_numpy, check_constant, floating, real
from .tensor import Array, Tensor, TensorLike, array_of, node, primitive, value_of


@primitive
def add(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a + b"""
    return node("add", apply_numpy(np.add, [a, b]), (a, lambda g, y: g), (b, lambda g, y: g))


@primitive
def subtract(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a − b"""
    return node("subtract", apply_numpy(np.subtract, [a, b]), (a, lambda g, y: g), (b, lambda g, y: -g))


@primitive
def multiply(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a b"""
    return node("multiply", apply_numpy(kernels.multiply, [a, b]), (a, lambda g, y: g * b), (b, lambda g, y: g * a))


@primitive
def divide(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a / b"""
    return node("divide", apply_numpy(np.divide, [a, b]), (a, lambda g, y: g / b), (b, lambda g, y: -g * y / b))


@primitive
def power(a: TensorLike, b: TensorLike) -> Tensor:
    """y = aᵇ. By convention ∂y/∂a = 0 where a = b = 0, and ∂y/∂b = 0 where a = 0."""
    return node(
        "power",
        apply_numpy(pow, [a, b], op="power"),  # for squares, `pow` is faster than np.power
        (a, lambda g, y: g * b * power(a, _one_less(a, b))),
        (b, lambda g, y: g * y * log(where(value_of(a) == 0, 1, a))),
    )


def _one_less(a: TensorLike, b: TensorLike) -> TensorLike:
    """Return b − 1, but 0 where a = b = 0: there the derivative b · aᵇ⁻¹ = 0 · 0⁻¹ would be NaN."""
    if isinstance(b, int | float):
        return (b or 1) - 1
    if array_of(b).dtype.kind in "bui":  # in which 0 − 1 may wrap around
        b = array_of(b).astype(np.result_type(value_of(a), array_of(b), np.float16))
    return where((value_of(a) == 0) & (value_of(b) == 0), 1, b) - 1


@primitive
def negative(x: TensorLike) -> Tensor:
    """y = −x"""
    return node("negative", apply_numpy(np.negative, [x]), (x, lambda g, y: -g))


@primitive
def exp(x: TensorLike) -> Tensor:
    """y = eˣ"""
    return node("exp", np.exp(floating("exp", x)), (x, lambda g, y: g * y))


@primitive
def expm1(x: TensorLike) -> Tensor:
    """y = eˣ − 1, to full relative precision near 0"""
    return node("expm1", np.expm1(floating("expm1", x)), (x, lambda g, y: g * exp(x)))


@primitive
def log(x: TensorLike) -> Tensor:
    """y = ln x"""
    return node("log", np.log(floating("log", x)), (x, lambda g, y: g / x))


@primitive
def log1p(x: TensorLike) -> Tensor:
    """y = ln(1 + x), to full relative precision near 0"""
    return node("log1p", np.log1p(floating("log1p", x)), (x, lambda g, y: g / add(x, 1)))


@primitive
def sqrt(x: TensorLike) -> Tensor:
    """y = √x"""
    return node("sqrt", np.sqrt(floating("sqrt", x)), (x, lambda g, y: g / (2 * y)))


@primitive
def abs(x: TensorLike) -> Tensor:
    """y = |x|, with derivative 0 at 0"""
    return node("abs", np.abs(real("abs", x)), (x, lambda g, y: g * np.sign(value_of(x))))


@primitive
def sin(x: TensorLike) -> Tensor:
    """y = sin x"""
    return node("sin", np.sin(floating("sin", x)), (x, lambda g, y: g * cos(x)))


@primitive
def cos(x: TensorLike) -> Tensor:
    """y = cos x"""
    return node("cos", np.cos(floating("cos", x)), (x, lambda g, y: -g * sin(x)))


@primitive
def tanh(x: TensorLike) -> Tensor:
    """y = tanh x"""

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        return g * one_minus_square(y) if is_grad_enabled() else node("tanh_vjp", activation.tanh_vjp(y.value, g.value))

    return node("tanh", np.tanh(floating("tanh", x)), (x, vjp))


@primitive
def one_minus_square(x: TensorLike) -> Tensor:
    """y = 1 − x²: the derivative of tanh in terms of its output x"""
    v = floating("one_minus_square", x)
    return node("one_minus_square", 1 - v * v, (x, lambda g, y: g * multiply(x, -2)))


@primitive
def sigmoid(x: TensorLike) -> Tensor:
    """y = σ(x) = 1 / (1 + e⁻ˣ), y′ = σ(x) σ(−x), both to full relative precision in both tails"""
    v = floating("sigmoid", x)
    e = np.exp(-np.abs(v))  # at most 1, so it does not overflow
    # y′ is not computed as y (1 − y), which is 0 where y rounds to 1.
    return node("sigmoid", np.where(v < 0, e, 1) / (1 + e), (x, lambda g, y: g * y * sigmoid(negative(x))))


@primitive
def softplus(x: TensorLike) -> Tensor:
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)"""
    v = floating("softplus", x)
    return node("softplus", np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v))), (x, lambda g, y: g * sigmoid(x)))


@primitive
def log_sigmoid(x: TensorLike) -> Tensor:
    """y = ln σ(x) = min(x, 0) − ln(1 + e^−|x|)"""
    v = floating("log_sigmoid", x)
    y = np.minimum(v, 0) - np.log1p(np.exp(-np.abs(v)))
    return node("log_sigmoid", y, (x, lambda g, y: g * sigmoid(negative(x))))


@primitive
def relu(x: TensorLike) -> Tensor:
    """y = max(x, 0), with derivative 0 at 0"""
    return node("relu", activation.relu(array_of(x)), (x, relu_vjp))


def relu_vjp(g: Tensor, y: Tensor) -> Tensor:
    """Return 0 where y ≤ 0, else g. This is linear in g with the same mask, so it is its own VJP."""
    return node("relu_vjp", activation.relu_vjp(y.value, g.value), (g, lambda h, _: relu_vjp(h, y)))


@primitive
def leaky_relu(x: TensorLike, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope · x; the derivative at 0 is `slope`"""
    check_constant("leaky_relu", slope=slope)
    v = floating("leaky_relu", x)
    s = v.dtype.type(float(slope))
    # For 0 ≤ s ≤ 1, (1 − s) + s is exactly 1; np.where takes three times as long.
    factor = (v > 0).astype(v.dtype) * (1 - s) + s if 0 <= s <= 1 else np.where(v > 0, v.dtype.type(1), s)
    return node("leaky_relu", v * factor, (x, lambda g, y: g * factor))


@primitive
def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """y = max(a, b); where a = b, each receives half of the cotangent, and where y is NaN, its NaN operands do"""
    y, share = apply_numpy(np.maximum, [a, b]), _share(np.greater)
    return node("maximum", y, (a, lambda g, y: g * share(a, b)), (b, lambda g, y: g * share(b, a)))


@primitive
def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """y = min(a, b); where a = b, each receives half of the cotangent, and where y is NaN, its NaN operands do"""
    y, share = apply_numpy(np.minimum, [a, b]), _share(np.less)
    return node("minimum", y, (a, lambda g, y: g * share(a, b)), (b, lambda g, y: g * share(b, a)))


def _share(wins: Callable[[Any, Any], Array]) -> Callable[[TensorLike, TensorLike], Array]:
    """Return a function of a and b: 1 where a is the result, ½ where both are, else 0.

    The result is float16, which does not promote a float32 cotangent.
    """

    def share(a: TensorLike, b: TensorLike) -> Array:
        a, b = value_of(a), value_of(b)
        is_result, b_is_nan = wins(a, b) | np.isnan(a), np.isnan(b)
        ties = np.equal(a, b) | (np.isnan(a) & b_is_nan)
        return np.where(ties, np.float16(0.5), is_result)

    return share


@primitive
def clip(x: TensorLike, low: TensorLike | None = None, high: TensorLike | None = None) -> Tensor:
    """y = min(max(x, low), high), where a bound of None is left out.

    The derivative with respect to x is 1 where low ≤ x ≤ high or x is NaN; elsewhere that of the bound y is equal to.
    """
    v, low, high = value_of(x), *(bound if isinstance(bound, Tensor) else deepcopy(bound) for bound in (low, high))

    def of_x(y: Tensor) -> Array:
        return np.asarray(np.equal(y.value, v) | np.isnan(v))

    def of_low(y: Tensor) -> Array:
        is_low = np.False_ if low is None else np.equal(y.value, value_of(low)) | np.isnan(value_of(low))
        return np.asarray(~of_x(y) & is_low)

    return node(
        "clip",
        apply_numpy(np.clip, [v, low, high]),
        (x, lambda g, y: g * of_x(y)),
        (low, lambda g, y: g * of_low(y)),
        (high, lambda g, y: g * ~(of_x(y) | of_low(y))),
    )


@primitive
def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """y = a where the condition is true, b elsewhere.

    Example:
        >>> where([True, False], Tensor([1.0, 2.0]), 0.0).value
        array([1., 0.])
    """
    check_constant("where", condition=condition)
    c, _, _ = (real("where", each) for each in (condition, a, b))
    c = c.astype(bool)
    y = apply_numpy(np.where, [c, a, b])
    return node("where", y, (a, lambda g, y: where(c, g, 0)), (b, lambda g, y: where(c, 0, g)))


@primitive
def astype(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """y = x in another floating-point dtype; the cotangent is cast back. Raises TypeError for any other dtype."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"astype: dtype: expected a floating-point dtype, got {np.dtype(dtype)}; use x.value.astype")
    if isinstance(x, Tensor) and x.dtype == dtype:
        return x
    return node("astype", real("astype", x).astype(np.dtype(dtype).newbyteorder("=")), (x, lambda g, y: g))
