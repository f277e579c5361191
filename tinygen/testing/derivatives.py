"""Check derivatives that were derived by hand, of functions of arrays: a VJP, a JVP, or the gradient of a scalar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_rng
from .calls import CONVERT_HINT, Convert, Function, check_numbers, check_positive
from .finite_differences import Problem, compare, default_tolerance, describe, directional_derivative, require_power


def check_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *xs: Array | float,
    rng: np.random.Generator,
    tolerance: float | None = None,
    draws: int = 2,
    convert: Convert = None,
) -> None:
    """Check a vector-Jacobian product (the backward pass of f) against finite differences of f.

        Σ ⟨x̄, v⟩ = d/dh ⟨c, f(x + h v)⟩ at h = 0,   x̄ = vjp(c, x) = cᵀ ∂f/∂x,   random directions v and cotangents c

    For a second derivative, check the VJP itself: `check_vjp(vjp, second_vjp, c, *xs, rng=rng)`.

    Args:
        f: called as f(*xs), returns an array, or a tuple of m arrays.
        vjp: called as vjp(*cotangents, *xs) with one cotangent for each of the m results; returns a tuple of one array
            per x, or one array if there is one x.
        xs: arrays of float64 or float32, with entries of order 1 and away from kinks.
        tolerance: relative to Σ|x̄ v|; by default √ε, that is 2e-8 for float64 and 4e-4 for float32. The rounding error
            of the finite differences, ε (Σ|c f(x)| + Σ|x̄ x|) / h with h = 2⁻¹² or 2⁻⁸ in float32, is allowed in
            addition. The precision is the lowest among xs and results.
        draws: the number of random directions and cotangents.
        convert: maps the arrays to what f and vjp take, such as torch.from_numpy or jnp.asarray.

    Raises: AssertionError with the wrong entries and the likely fault; TypeError or ValueError if an argument is unfit;
        ValueError if that rounding error exceeds a quarter of the derivative's norm, as for a large constant in f.
    Checked by: tests/testing/test_derivatives.py

    Example:
        >>> x, rng = np.linspace(0.5, 1.5, 3), np.random.default_rng(0)
        >>> check_vjp(lambda x: x**2, lambda c, x: 2 * c * x, x, rng=rng)
        >>> check_vjp(lambda x: x**2, lambda c, x: c * x, x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_vjp: ... 3 of 3 entries are wrong, the worst at (2,): ... (all by a factor of 0.5).
    """
    task = _Task("check_vjp", f, xs, rng, tolerance, draws, convert)
    names = ["cotangent"] if len(task.ys) == 1 else [f"cotangent{i}" for i in range(len(task.ys))]
    backward = task.function("vjp", vjp, [*names, *task.arguments])
    nonzero = np.zeros(len(task.xs), bool)
    for _ in range(draws):
        cotangents = [rng.normal(size=y.shape).astype(y.dtype) for y in task.ys]
        gradients = task.matching(backward, task.xs, "gradient", "x", *cotangents, *task.xs)
        compare(task.problem, cotangents, gradients, rng, task.tolerance)
        nonzero |= [bool(np.any(g)) for g in gradients]
    task.require_dependence(nonzero)


def check_gradient(
    f: Callable[..., Any],
    gradient: Callable[..., Any],
    *xs: Array | float,
    rng: np.random.Generator,
    tolerance: float | None = None,
    draws: int = 2,
    convert: Convert = None,
) -> None:
    """Check the gradient of a scalar function, such as a loss, against finite differences of f.

        Σ ⟨∂f/∂x, v⟩ = d/dh f(x + h v) at h = 0,   random directions v

    Args:
        f: called as f(*xs), returns a scalar.
        gradient: called as gradient(*xs); returns a tuple of one array per x, or one array if there is one x.
        xs, tolerance, draws, convert: as for `check_vjp`.

    Raises: as for `check_vjp`, and AssertionError if f(*xs) is not a scalar.
    Checked by: tests/testing/test_derivatives.py

    Example:
        >>> x, rng = np.linspace(0.5, 1.5, 3), np.random.default_rng(0)
        >>> check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, x, rng=rng)
        >>> check_gradient(lambda x: np.mean(x**2), lambda x: 2 * x, x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_gradient: ... the worst at (2,): 3 instead of 1 (all by a factor of 3).
    """
    task = _Task("check_gradient", f, xs, rng, tolerance, draws, convert)
    if [y.shape for y in task.ys] != [()]:
        got = [y.shape for y in task.ys]
        raise AssertionError(f"check_gradient: the result of f: expected one scalar, got shapes {got}; use check_vjp")
    backward = task.function("gradient", gradient, task.arguments)
    gradients = task.matching(backward, task.xs, "gradient", "x", *task.xs)
    for _ in range(draws):
        compare(task.problem, [np.ones(())], gradients, rng, task.tolerance)
    task.require_dependence([bool(np.any(g)) for g in gradients])


def check_jvp(
    f: Callable[..., Any],
    jvp: Callable[..., Any],
    *xs: Array | float,
    rng: np.random.Generator,
    tolerance: float | None = None,
    draws: int = 2,
    convert: Convert = None,
) -> None:
    """Check a Jacobian-vector product (the forward mode of f) against finite differences of f.

        ⟨c, jvp(v, x)⟩ = d/dh ⟨c, f(x + h v)⟩ at h = 0,   random directions v and cotangents c

    Args:
        f: called as f(*xs), returns an array, or a tuple of m arrays.
        jvp: called as jvp(*vs, *xs) with one direction v per x; returns an array, or a tuple of m arrays.
        xs, tolerance, draws, convert: as for `check_vjp`.

    Raises: as for `check_vjp`.
    Checked by: tests/testing/test_derivatives.py

    Example:
        >>> x, rng = np.linspace(0.5, 1.5, 3), np.random.default_rng(0)
        >>> check_jvp(np.sin, lambda v, x: v * np.cos(x), x, rng=rng)
        >>> check_jvp(np.cos, lambda v, x: v * np.sin(x), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_jvp: ... 3 of 3 entries are wrong, ... (the sign is flipped).
    """
    task = _Task("check_jvp", f, xs, rng, tolerance, draws, convert)
    directions = [f"v{i}" for i in range(len(task.xs))] if len(task.xs) > 1 else ["v"]
    forward = task.function("jvp", jvp, [*directions, *task.arguments])
    depends = np.zeros(len(task.xs), bool)
    for _ in range(draws):
        vs = [rng.normal(size=x.shape).astype(x.dtype) for x in task.xs]
        for k in range(len(vs)):  # one x at a time, so that the wrong one can be named
            only = [v if i == k else np.zeros_like(v) for i, v in enumerate(vs)]
            tangents = task.matching(forward, task.ys, "tangent", "result", *only, *task.xs)
            task.compare_tangents(tangents, only, k, rng)
            depends[k] |= any(np.any(t) for t in tangents)
        together = task.matching(forward, task.ys, "tangent", "result", *vs, *task.xs)
        task.compare_tangents(together, vs, None, rng)
    task.require_dependence(depends)


class _Task:
    """The validated arguments of a check. f has been evaluated: it is deterministic and finite."""

    def __init__(
        self,
        checker: str,
        f: Callable[..., Any],
        xs: Sequence[Array | float],
        rng: np.random.Generator,
        tolerance: float | None,
        draws: int,
        convert: Convert,
    ) -> None:
        check_rng(rng)
        check_positive(tolerance=tolerance)
        at_least(1, draws=draws)
        self.checker, self.convert = checker, convert
        self.arguments = [f"x{i}" for i in range(len(xs))] if len(xs) > 1 else ["x"]
        self.xs = [_input(f"xs[{i}]", x) for i, x in enumerate(xs)]
        if not xs:
            raise ValueError("xs: expected one or more arrays, got none; pass the arguments of f after the functions")
        self.f = self.function("f", f, self.arguments)
        self.ys = tuple(self.checked(self.f, y, "the result") for y in self.f.several(*self.xs))
        self.f.require_deterministic(self.ys, *self.xs)
        self.problem = Problem(checker, self.f.several, self.xs, self.ys, [f"xs[{i}]" for i in range(len(xs))])
        self.tolerance = default_tolerance(self.problem.dtype) if tolerance is None else tolerance

    def function(self, name: str, f: Callable[..., Any], arguments: Sequence[str]) -> Function:
        return Function(self.checker, name, f, arguments, self.convert)

    def checked(self, f: Function, y: Array, what: str) -> Array:
        """Return a result after checking that it is finite and has the floating-point dtype of the inputs."""
        expected = max((x.dtype for x in self.xs), key=lambda dtype: dtype.itemsize)
        # Code in JAX may compute in float32 whatever it is given; then the check has the precision of float32.
        lower = self.convert is not None and y.dtype == np.float32
        if y.dtype.kind != "f" or not (y.dtype == expected or lower):
            raise AssertionError(
                f"{self.checker}: {what} of {f.name}: expected {expected} as xs, got {y.dtype}; is an array inside "
                f"{f.name} {y.dtype}? Convert it, or the xs"
            )
        return f.finite(y)

    def matching(self, f: Function, like: Sequence[Array], what: str, of: str, *arguments: Array) -> list[Array]:
        """Call a derivative, and check that it returns one array per array of `like`, of the same shape and dtype."""
        found = f.several(*arguments)
        if len(found) != len(like):
            raise AssertionError(
                f"{self.checker}: {f.name}: expected {len(like)} arrays, one {what} per {of}, got {len(found)}"
            )
        for i, (g, x) in enumerate(zip(found, like, strict=True)):
            self.checked(f, g, f"{what} {i}")
            if g.shape != x.shape:
                raise AssertionError(
                    f"{self.checker}: {f.name}: expected {what} {i} of shape {x.shape}, as {of} {i}, got {g.shape}; "
                    f"is a sum over broadcast axes missing, or a transpose?"
                )
        f.require_deterministic(found, *arguments)
        return list(found)

    def compare_tangents(self, tangents: list[Array], vs: list[Array], k: int | None, rng: np.random.Generator) -> None:
        """Compare ⟨c, tangent⟩ with finite differences along v; find the wrong entries if they differ."""
        cotangents = [rng.normal(size=y.shape) for y in self.ys]
        rounding = self.problem.rounding(cotangents)
        computed = sum(float(np.sum(c * t)) for c, t in zip(cotangents, tangents, strict=True))
        scale = sum(float(np.sum(np.abs(c * t))) for c, t in zip(cotangents, tangents, strict=True))
        measured, uncertainty = directional_derivative(self.problem, vs, cotangents, rounding)
        allowed = self.tolerance * max(scale, abs(measured)) + rounding
        if abs(computed - measured) <= allowed:
            if k is None:
                require_power(rounding, tangents)
            return
        along = "all directions together" if k is None else f"direction v of xs[{k}]"
        cause = (
            self.wrong_tangents(tangents, vs)
            if uncertainty <= max(allowed, 0.01 * abs(computed - measured))
            else f"Finite differences have converged only to within {uncertainty:.3g}: a kink, pole or noise in f?"
        )
        raise AssertionError(
            f"{self.checker}: along {along}: ⟨c, jvp⟩ = {computed:.12g}, but finite differences give {measured:.12g}; "
            f"they differ by {abs(computed - measured):.3g}, more than {allowed:.3g} ({self.tolerance:g} relative, "
            f"plus rounding in {self.problem.dtype.__name__}). {cause}"
        )

    def wrong_tangents(self, tangents: list[Array], vs: list[Array]) -> str:
        found = []
        for i, t in enumerate(tangents):
            if t.size > 1000:
                found.append(f"The tangent of result {i} has {t.size} entries and was not searched.")
                continue
            exact, limit = np.zeros(t.shape), np.zeros(t.shape)
            for place in np.ndindex(t.shape):
                cotangents = [np.zeros(y.shape) for y in self.ys]
                cotangents[i][place] = 1
                exact[place], error = directional_derivative(self.problem, vs, cotangents)
                limit[place] = 10 * error + 0.1 * self.tolerance * abs(exact[place])
            wrong = np.abs(t - exact) > limit
            if wrong.any():
                found.append(f"In the tangent of result {i}, {describe(t, exact, wrong)}.")
        return " ".join(found)

    def require_dependence(self, depends: Sequence[bool] | Array) -> None:
        if constant := [name for name, found in zip(self.problem.names, depends, strict=True) if not found]:
            raise AssertionError(
                f"{self.checker}: f does not depend on {', '.join(constant)}: the derivative and the finite differences"
                f" are both 0, so nothing is checked. Remove the input, or choose a point where f depends on it."
            )


def _input(name: str, x: Any) -> Array:
    if isinstance(x, float | np.floating):
        return np.asarray(x)
    if not isinstance(x, np.ndarray):
        module = type(x).__module__.split(".")[0]
        hint = CONVERT_HINT if module in ("torch", "jax", "jaxlib") else "pass np.array(…)"
        raise TypeError(f"{name}: expected an array or a float, got {type(x).__name__}; {hint}")
    if x.size == 0:
        raise ValueError(f"{name}: expected at least one number, got an array of shape {x.shape}")
    check_numbers(name, x)
    return x
