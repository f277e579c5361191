"""Faults of derivatives, which check_vjp, check_jvp, check_gradient, check_adjoint and check_grads name."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

import tinygen.autograd as ag
from tinygen.autograd import Tensor, grad
from tinygen.autograd.tensor import node
from tinygen.testing import check_adjoint, check_gradient, check_grads, check_jvp, check_vjp

from .table import Fault, Right, Table, after, before, narrow, noise, of

RNG = np.random.default_rng(1)
X, W, LONG = RNG.uniform(0.5, 1.5, (4, 4)), RNG.uniform(0.5, 1.5, (4, 4)), RNG.uniform(0.5, 1.5, (30, 40))


def product(xp: Any) -> dict[str, Any]:
    """tanh(x) w"""

    def vjp(c: Any, x: Any, w: Any) -> Any:
        return (c @ w.T) * (1 - xp.tanh(x) ** 2), xp.tanh(x).T @ c

    def jvp(v: Any, u: Any, x: Any, w: Any) -> Any:
        return (v * (1 - xp.tanh(x) ** 2)) @ w + xp.tanh(x) @ u

    return {"f": lambda x, w: xp.tanh(x) @ w, "vjp": vjp, "jvp": jvp, "xs": (X, W)}


def quotient(xp: Any) -> dict[str, Any]:
    """sin(x) / w"""

    def vjp(c: Any, x: Any, w: Any) -> Any:
        return c * xp.cos(x) / w, -c * xp.sin(x) / w**2

    def jvp(v: Any, u: Any, x: Any, w: Any) -> Any:
        return v * xp.cos(x) / w - u * xp.sin(x) / w**2

    return {"f": lambda x, w: xp.sin(x) / w, "vjp": vjp, "jvp": jvp, "xs": (X, W)}


def sum_of(right: Right) -> Right:
    """The sum over the entries of f, and its gradient."""

    def scalar(xp: Any) -> dict[str, Any]:
        a = right(xp)

        def gradient(x: Any, w: Any) -> Any:
            return a["vjp"](xp.ones_like(x), x, w)

        return {"f": lambda x, w: a["f"](x, w).sum(), "gradient": gradient, "xs": (X, W)}

    return scalar


def other_function(f: Any, vjp: Any, x: Any = X) -> Fault:
    """A fault of another function; f and vjp have xp and a factor, 1 or 2, as their first arguments."""

    def fault(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
        wrong = lambda c, x: vjp(xp, a.which + 1.0, c, x)
        return {"f": lambda x: f(xp, a.which + 1.0, x), "vjp": wrong, "jvp": wrong, "xs": (x,)}

    return fault


VALUES: dict[str, Fault] = {  # of the first of two gradients
    "In the gradient of xs[0],": after("vjp", lambda g, h: (g + 0.01, h)),
    "of 16 entries are wrong, the worst at": after("vjp", lambda g, h: (1.01 * g, h)),
    "(all by a factor of 2)": after("vjp", lambda g, h: (2 * g, h)),
    "(the sign is flipped)": after("vjp", lambda g, h: (-g, h)),
    "(all are 0: was the graph cut by .value, detach": after("vjp", lambda g, h: (0 * g, h)),
    "(it is the transpose of the right one)": after("vjp", lambda g, h: (g.T, h)),
    "a mean instead of a sum over 16 entries": after("vjp", lambda g, h: (g / 16, h)),
}
CALLS: dict[str, Fault] = {
    "expected 2 arrays, one gradient per x, got 1": after("vjp", lambda g, h: g),
    "is a sum over broadcast axes missing, or a transpose": after("vjp", lambda g, h: (g, h[None])),
    "is an array inside": after("vjp", lambda g, h: (g, narrow(h, "float16"))),
    "the result of vjp: expected finite numbers": after("vjp", lambda g, h: (g * math.nan, h)),
    "two calls of vjp with the same arguments differ": after("vjp", lambda g, h: (g + noise(), h)),
}


def run_vjp(f: Any, vjp: Any, xs: Any, jvp: Any = None, **settings: Any) -> None:
    check_vjp(f, vjp, *xs, **settings)


def run_jvp(f: Any, jvp: Any, xs: Any, vjp: Any = None, **settings: Any) -> None:
    check_jvp(f, jvp, *xs, **settings)


def run_gradient(f: Any, gradient: Any, xs: Any, **settings: Any) -> None:
    check_gradient(f, gradient, *xs, **settings)


def adds_in_place(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    def vjp(c: Any, x: Any, w: Any) -> Any:
        c += 1e-9
        return a.vjp(c, x, w)

    return {"vjp": vjp}


def cube_root(xp: Any, x: Any) -> Any:
    """The root of a sum of cubes has all partial derivatives at 0, but is not differentiable there."""
    return xp.sign(x) * xp.abs(x) ** (1 / 3)


KINK = other_function(lambda xp, k, x: k * xp.abs(x), lambda xp, k, c, x: k * c * xp.sign(x), X * 1e-3)
CONSTANT = other_function(lambda xp, k, x: k + 0 * x, lambda xp, k, c, x: 0 * c)

VJP_TABLE = Table(
    run_vjp,
    (product, quotient),
    VALUES
    | CALLS
    | {
        "Σ⟨gradient, v⟩ =": before("vjp", lambda c, x, w: (0 * c + 1, x, w)),
        "modifies its argument cotangent in place": adds_in_place,
        "f does not depend on xs[0]": CONSTANT,
        "have converged only to within": KINK,
        "No single entry is wrong by more than rounding": other_function(
            lambda xp, k, x: k * cube_root(xp, (x**3).sum()), lambda xp, k, c, x: k * c * xp.ones_like(x), np.zeros(4)
        ),
        "xs[0] has 1200 entries and was not searched": other_function(
            lambda xp, k, x: xp.sin(k * x), lambda xp, k, c, x: 1.1 * k * c * xp.cos(k * x), LONG
        ),
    },
)


def in_gradients(fault: Fault) -> Fault:
    """The same fault in `gradient` instead of `vjp`."""

    def renamed(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
        return {"gradient": fault(xp, SimpleNamespace(vjp=a.gradient))["vjp"]}

    return renamed


GRADIENT = Table(
    run_gradient,
    (sum_of(product), sum_of(quotient)),
    {said.replace("vjp", "gradient"): in_gradients(fault) for said, fault in (VALUES | CALLS).items()}
    | {"the result of f: expected one scalar": lambda xp, a: {"f": lambda x, w: a.f(x, w) + 0 * x[0]}},
)
JVP = Table(
    run_jvp,
    (product, quotient),
    {
        "⟨c, jvp⟩ =": after("jvp", lambda t: t + 0.01),
        "along direction v of xs[0]": before("jvp", lambda v, u, x, w: (2 * v, u, x, w)),
        "along direction v of xs[1]": before("jvp", lambda v, u, x, w: (v, u * 0, x, w)),
        "In the tangent of result 0,": after("jvp", lambda t: t * t),
        "along all directions together": lambda xp, a: {"jvp": lambda v, u, x, w: a.jvp(v, u, x, w) + v * u},
        "have converged only to within": KINK,
        "f does not depend on xs[0]": CONSTANT,
        "expected 1 arrays, one tangent per result, got 2": after("jvp", lambda t: (t, t)),
        "expected tangent 0 of shape (4, 4), as result 0": after("jvp", lambda t: t.sum(0)),
        "The tangent of result 0 has 1200 entries and was not searched": other_function(
            lambda xp, k, x: xp.sin(k * x), lambda xp, k, c, x: 1.1 * k * c * xp.cos(k * x), LONG
        ),
    },
)


def matrix(xp: Any) -> dict[str, Any]:
    return {"forward": lambda x: of(xp, W) @ x, "adjoint": lambda y: of(xp, W).T @ y, "x_shape": (4,), "y_shape": (4,)}


def shift(xp: Any) -> dict[str, Any]:
    """A convolution with two taps along a ring."""
    return {
        "forward": lambda x: 2 * x + xp.roll(x, 1, 0),
        "adjoint": lambda y: 2 * y + xp.roll(y, -1, 0),
        "x_shape": (4,),
        "y_shape": (4,),
    }


ADJOINT = Table(
    check_adjoint,
    (matrix, shift),
    {
        "one is the adjoint of a different map": lambda xp, a: {"adjoint": a.forward},
        "adjoint: expected an output of shape (4,), got (3,)": after("adjoint", lambda x: x[:3]),
        "pass dtype=np.float32 to check float32 code": after("forward", lambda y: narrow(y, "float16")),
        "maps a random input to 0, so nothing is checked": after("forward", lambda y: 0 * y),
        "Is there a bias, a nonlinearity or lower precision": after("forward", lambda y: y + 1),
    },
)


# Functions of tinygen's tensors, to which PyTorch has no access: cubes and sines with a wrong VJP.
def cube(xp: Any) -> dict[str, Any]:
    return {"value": lambda x: x**3, "vjp": lambda g, x: g * 3 * x * x, "x": X}


def sine(xp: Any) -> dict[str, Any]:
    return {"value": np.sin, "vjp": lambda g, x: g * ag.cos(x), "x": X}


def run_grads(value: Any, vjp: Any, x: Any, f: Any = None, spoil: Any = None, **settings: Any) -> None:
    """Check f, or a function with this value and VJP; `spoil` is a fault of `grad` itself."""

    def of_tensors(x: Tensor) -> Tensor:
        return node("faulty", value(x.value), (x, lambda g, y: vjp(g, x)))

    wrong = (lambda y, xs, c, *_, **__: [Tensor(spoil(c))]) if spoil else grad
    with mock.patch("tinygen.testing.gradients.grad", wrong):
        check_grads(f or of_tensors, np.array(x), **settings)


def wrong_type(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    return {"value": lambda x: a.value(x.astype(np.float64))}


def changes_input(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    def vjp(g: Tensor, x: Tensor) -> Tensor:
        x.value[0, 0] += 1e-9
        return a.vjp(g, x)  # type: ignore[no-any-return]

    return {"vjp": vjp}


def changes_cotangent(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    """The VJP adds to an array that it keeps."""
    kept = np.zeros_like(X)

    def vjp(g: Tensor, x: Tensor) -> Tensor:
        kept[...] += 1e-9
        return a.vjp(g, x) + kept  # type: ignore[no-any-return]

    return {"vjp": vjp}


GRADS = Table(
    run_grads,
    (cube, sine),
    {},
    {
        "does a VJP use .value or NumPy instead of tensor": lambda xp, a: {
            "vjp": lambda g, x: g * a.vjp(Tensor(1.0), x).value
        },
        "f does not depend on xs[0]": lambda xp, a: {"f": lambda x: Tensor(a.value(X)) + 0 * x},
        "turns float32 into float64": wrong_type,
        "two calls of f differ; if f is random, seed it": lambda xp, a: {"f": lambda x: noise() * x},
        "was modified in place, by f or by a VJP": changes_input,
        "a second call of grad gives another gradient": changes_cotangent,
        "shares memory with the cotangent": lambda xp, a: {"spoil": lambda c: c},
        "expected float64 of shape (4, 4), got float32": lambda xp, a: {"spoil": narrow},
    },
)
