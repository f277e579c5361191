"""Derivatives of functions, built on `grad` alone: any order, by nesting.

    square = lambda x: (x * x).sum()
    value_and_grad(square)(x)       jacobian(jacobian(f))(x)       hessian(square)(x)       hvp(square, x, v)

f takes tensors and returns one tensor. All but value_and_grad keep the graph of the derivative, so that they nest;
inside no_grad they work as well, and what they return keeps no edges.

Checked by: tests/autograd/test_derivatives.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .backward import check_inputs, grad, value_and_free
from .reduce import sum
from .shape import reshape, stack
from .tensor import Tensor, TensorLike, is_grad_enabled, set_grad_enabled, value_of

Function = Callable[..., Tensor]


def value_and_grad(
    f: Function, inputs: Iterable[Tensor] | None = None, allow_unreached: bool = False
) -> Callable[..., tuple[Tensor, Any]]:
    """Return a function that gives f's scalar value together with its derivative.

    The derivative is by f's first argument, one tensor; or, if `inputs` are named (say model.parameters()), by each of
    these, a list. The graph is released on the way: this is the cheapest derivative, and the one to train with.
    Raises as `grad` does.
    """
    named = None if inputs is None else check_inputs(inputs)

    def value_and_derivative(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        with set_grad_enabled(True):
            if named is None:
                args = (_tensor(args[0]), *args[1:])
            wanted = args[:1] if named is None else named
            value, derivatives = value_and_free([f(*args, **kwargs)], wanted, allow_unreached)
        return value, derivatives[0] if named is None else derivatives

    return value_and_derivative


def vjp(f: Function, *xs: TensorLike) -> tuple[Tensor, Callable[[TensorLike], list[Tensor]]]:
    """Return y = f(*xs) and the map that pulls a cotangent of y back to the xs: g ↦ [gᵀ ∂y/∂x for x in xs]"""
    inputs = [_tensor(x) for x in xs]
    with set_grad_enabled(True):
        y = f(*inputs)
    return _handed_out(y), lambda g: grad(y, inputs, g, create_graph=is_grad_enabled(), allow_unreached=True)


def jvp(f: Function, xs: Sequence[TensorLike], tangents: Sequence[TensorLike]) -> tuple[Tensor, Tensor]:
    """Return y = f(*xs) and how it moves when the xs move along the tangents: Σ ∂y/∂x ẋ

    Reverse mode twice: g ↦ gᵀ ∂y/∂x is linear in g, so its own derivative along ẋ is ∂y/∂x ẋ.
    """
    for x, tangent in zip(xs, tangents, strict=True):
        shape, needed = np.shape(value_of(tangent)), np.shape(value_of(x))
        if shape != needed:
            raise ValueError(f"jvp: a tangent of shape {shape} for an input of shape {needed}")
    with set_grad_enabled(True):
        y, pull_back = vjp(f, *xs)
        probe, along = Tensor(np.zeros_like(y.value)), Tensor(np.zeros((), y.dtype))
        for pulled, tangent in zip(pull_back(probe), tangents, strict=True):
            along = along + sum(pulled * tangent)
    return _handed_out(y), grad(along, [probe], create_graph=is_grad_enabled(), allow_unreached=True)[0]


def jacobian(f: Function) -> Callable[[TensorLike], Tensor]:
    """Return x ↦ ∂f/∂x, of shape (*shape of f(x), *shape of x), one backward pass for each entry of f(x)"""

    def derivative(x: TensorLike) -> Tensor:
        y, pull_back = vjp(f, x)
        shape = (*y.shape, *np.shape(value_of(x)))
        rows = [pull_back(np.eye(1, y.size, i).reshape(y.shape))[0] for i in range(y.size)]
        return reshape(stack(rows), shape) if rows else Tensor(np.zeros(shape, y.dtype))

    return derivative


def hessian(f: Function) -> Callable[[TensorLike], Tensor]:
    """Return x ↦ ∂²f/∂x∂x of a scalar f, of shape (*shape of x, *shape of x)"""
    return jacobian(_gradient(f))


def hvp(f: Function, x: TensorLike, v: TensorLike) -> Tensor:
    """∂²f/∂x∂x v of a scalar f, without the Hessian: the derivative of ⟨∂f/∂x, v⟩"""
    return vjp(_gradient(f), x)[1](v)[0]


def _gradient(f: Function) -> Callable[[Tensor], Tensor]:
    return lambda x: grad(f(x), [x], create_graph=True)[0]


def _handed_out(y: Tensor) -> Tensor:
    """Drop the edges that only the derivative needed, if the caller keeps none."""
    return y if is_grad_enabled() else Tensor(y.value)


def _tensor(x: TensorLike) -> Tensor:
    """Give an argument a node of its own: the same tensor may stand in two places, or be used by f besides."""
    return reshape(x, x.shape) if isinstance(x, Tensor) else Tensor(x)
