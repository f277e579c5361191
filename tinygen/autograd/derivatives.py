"""Derivatives of functions, built on `grad`: gradients, vector products with Jacobians and Hessians, full matrices.

They can be nested to compute derivatives of any order, for example jacobian(hessian(f)). Each f takes tensors and
returns one tensor. Inside `no_grad` they work too, but their results have no edges.

Checked by: tests/autograd/test_derivatives.py
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..arguments import checked, explained
from .backward import check_inputs, grad, value_and_free
from .grad_mode import is_grad_enabled, set_grad_enabled
from .reduce import sum
from .shape import reshape, stack
from .tensor import Tensor, TensorLike, value_of

Function = Callable[..., Tensor]


@checked
def value_and_grad(
    f: Function, inputs: Iterable[Tensor] | None = None, allow_unreached: bool = False
) -> Callable[..., tuple[Tensor, Any]]:
    """Return a function that computes the scalar f(…) and its gradient.

    This is the cheapest derivative and the one to train with: the graph is freed during the backward pass, so the
    gradient cannot be differentiated again.

    Args:
        inputs: tensors to differentiate with respect to, such as model.parameters(); the gradient is then a list. By
            default, the gradient is that of the first argument of f.
        allow_unreached: return zeros for an input that f does not depend on.

    Raises: the errors of `grad`.

    Example:
        >>> value, gradient = value_and_grad(lambda x: sum(x * x))(Tensor([1.0, 2.0]))
        >>> value.item(), gradient.value
        (5.0, array([2., 4.]))
    """
    named = None if inputs is None else check_inputs(inputs)

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        with set_grad_enabled(True):
            if named is None:
                args = (_as_variable("the first argument of f", args[0]), *args[1:])
            variables = args[:1] if named is None else named
            value, gradients = value_and_free([_evaluate(f, *args, **kwargs)], variables, allow_unreached)
        return value, gradients[0] if named is None else gradients

    return value_and_gradient


@explained
def vjp(f: Function, *xs: TensorLike) -> tuple[Tensor, Callable[[TensorLike], list[Tensor]]]:
    """Return y = f(*xs) and the function g ↦ [gᵀ ∂y/∂x for x in xs].

    Example:
        >>> y, pull_back = vjp(lambda a, b: a * b, 2.0, 5.0)
        >>> [g.item() for g in pull_back(1.0)]
        [5.0, 2.0]
    """
    inputs = [_as_variable(f"xs[{i}]", x) for i, x in enumerate(xs)]
    with set_grad_enabled(True):
        y = _evaluate(f, *inputs)
    return _detach_in_no_grad(y), lambda g: grad(y, inputs, g, create_graph=is_grad_enabled(), allow_unreached=True)


@explained
def jvp(f: Function, xs: Iterable[TensorLike], tangents: Iterable[TensorLike]) -> tuple[Tensor, Tensor]:
    """Return y = f(*xs) and its directional derivative Σ ∂y/∂x ẋ along the tangents ẋ.

    Two reverse passes: g ↦ gᵀ ∂y/∂x is linear in g, so the derivative of (gᵀ ∂y/∂x) ẋ with respect to g is ∂y/∂x ẋ.

    Example:
        >>> jvp(lambda x: x * x, [3.0], [1.0])[1].item()
        6.0
    """
    xs, tangents = list(xs), list(tangents)
    if len(xs) != len(tangents):
        raise ValueError(f"xs and tangents: expected equally many, got {len(xs)} and {len(tangents)}")
    for i, (x, tangent) in enumerate(zip(xs, tangents, strict=True)):
        shape, got = np.shape(value_of(x)), np.shape(value_of(tangent))
        if shape != got:
            raise ValueError(f"tangents[{i}]: expected the shape of its input, {shape}, got {got}")
    with set_grad_enabled(True):
        y, pull_back = vjp(f, *xs)
        g, total = Tensor(np.zeros_like(y.value)), Tensor(np.zeros((), y.dtype))
        for cotangent, tangent in zip(pull_back(g), tangents, strict=True):
            total = total + sum(cotangent * tangent)
    return _detach_in_no_grad(y), grad(total, [g], create_graph=is_grad_enabled(), allow_unreached=True)[0]


@checked
def jacobian(f: Function) -> Callable[[TensorLike], Tensor]:
    """Return the function x ↦ ∂f/∂x, of shape (*f(x).shape, *x.shape): one backward pass per element of f(x).

    Example:
        >>> jacobian(lambda x: x * x)([1.0, 2.0]).value
        array([[2., 0.],
               [0., 4.]])
    """

    def derivative(x: TensorLike) -> Tensor:
        y, pull_back = vjp(f, x)
        shape = (*y.shape, *np.shape(value_of(x)))
        rows = [pull_back(np.eye(1, y.size, i).reshape(y.shape))[0] for i in range(y.size)]
        return reshape(stack(rows), shape) if rows else Tensor(np.zeros(shape, y.dtype))

    return derivative


@checked
def hessian(f: Function) -> Callable[[TensorLike], Tensor]:
    """Return the function x ↦ ∂²f/∂x∂x of a scalar f, of shape (*x.shape, *x.shape).

    Example:
        >>> hessian(lambda x: x[0] * x[1])([1.0, 2.0]).value
        array([[0., 1.],
               [1., 0.]])
    """
    return jacobian(_gradient(f))


@explained
def hvp(f: Function, x: TensorLike, v: TensorLike) -> Tensor:
    """Return the Hessian-vector product ∂²f/∂x∂x v of a scalar f, as the derivative of ⟨∂f/∂x, v⟩.

    Example:
        >>> hvp(lambda x: x[0] * x[1], [1.0, 2.0], [1.0, 0.0]).value
        array([0., 1.])
    """
    gradient, pull_back = vjp(_gradient(f), _as_variable("x", x))
    if np.shape(value_of(v)) != gradient.shape:
        raise ValueError(f"v: expected the shape of x, {gradient.shape}, got {np.shape(value_of(v))}")
    return pull_back(v)[0]


def _gradient(f: Function) -> Callable[[Tensor], Tensor]:
    # Where f does not depend on x, or its gradient does not, the derivative is zero.
    return lambda x: grad(_evaluate(f, x), [x], create_graph=True, allow_unreached=True)[0]


def _evaluate(f: Function, *args: Any, **kwargs: Any) -> Tensor:
    y: Any = f(*args, **kwargs)
    if not isinstance(y, Tensor):
        got = f"one that returns {type(y).__name__}"
        raise TypeError(f"f: expected a function that returns a Tensor, got {got}; compute it with tinygen.autograd")
    return y


def _detach_in_no_grad(y: Tensor) -> Tensor:
    return y if is_grad_enabled() else Tensor(y.value)


def _as_variable(name: str, x: TensorLike) -> Tensor:
    """Return a new tensor, because f may also close over x, or receive it twice."""
    x = reshape(x, x.shape) if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: expected floating-point numbers, got {x.dtype}, which has no derivative")
    return x
