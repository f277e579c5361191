"""Directional derivatives by extrapolated finite differences, and the comparison of a gradient with them.

Everything here works on NumPy arrays, without automatic differentiation.

Source: Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", 1982.
Checked by: tests/testing/test_gradients.py, tests/testing/test_derivatives.py
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..autograd import Array
from .calls import record, resolution

Function = Callable[..., Sequence[Array]]

# Coarse steps give the best extrapolation where f is smooth; fine steps tolerate a nearby kink. The finest step
# magnifies rounding errors of f by 2¹² in float64 and by 2⁸ in float32.
_STEPS: dict[type, tuple[float, ...]] = {
    np.float64: tuple(2.0**-k for k in (4, 6, 8, 10, 12)),
    np.float32: tuple(2.0**-k for k in (2, 4, 6, 8)),
}


@dataclass(frozen=True)
class Problem:
    """The check of one gradient: a function, its inputs and outputs, and the names of the inputs."""

    where: str  # the checker, for messages
    f: Function
    xs: Sequence[Array]
    ys: Sequence[Array]
    names: Sequence[str]

    @property
    def dtype(self) -> type:
        return np.float64 if resolution(*self.xs, *self.ys) < 1e-10 else np.float32

    def rounding(self, cotangents: Sequence[Array], gradients: Sequence[Array] = ()) -> float:
        """Return the rounding error of a difference quotient, ε (Σ|c y| + Σ|x̄ x|) / h for the finest step h."""
        total = _sum_of_magnitudes(cotangents, self.ys) + (_sum_of_magnitudes(gradients, self.xs) if gradients else 0)
        return float(np.finfo(self.dtype).eps) / _STEPS[self.dtype][-1] * total


def default_tolerance(dtype: type) -> float:
    """Return √ε rounded up: 2e-8 for float64 and 4e-4 for float32."""
    return 2e-8 if dtype is np.float64 else 4e-4


def compare(
    problem: Problem,
    cotangents: Sequence[Array],
    gradients: Sequence[Array],
    rng: np.random.Generator,
    tolerance: float,
    hint: str = "",
) -> None:
    """Compare Σ⟨x̄, v⟩ with d/dh ⟨c, f(x + h v)⟩ in a random direction v; describe the wrong entries if they differ."""
    directions = [rng.normal(size=x.shape) for x in problem.xs]
    products = [g.astype(np.float64) * v for g, v in zip(gradients, directions, strict=True)]
    computed, scale = float(sum(np.sum(p) for p in products)), float(sum(np.sum(np.abs(p)) for p in products))
    rounding = problem.rounding(cotangents, gradients)
    allowed = tolerance * scale + rounding
    measured, uncertainty = directional_derivative(problem, directions, cotangents, rounding)
    error = abs(computed - measured)
    record(f"largest error {error:.2g}, tolerance {allowed:.2g}")
    if error <= allowed:
        return require_power(rounding, gradients)
    if uncertainty <= max(allowed, 0.01 * error):
        cause = describe_wrong_entries(problem, cotangents, gradients, tolerance, allowed) + hint
        cause = cause.lstrip() or "No single entry is wrong by more than rounding: is f differentiable at this point?"
    else:
        cause = f"Finite differences have converged only to within {uncertainty:.3g}: a kink, pole or noise in f?"
    precision = "" if problem.dtype is np.float64 else " in float32"
    raise AssertionError(
        f"{problem.where}: Σ⟨gradient, v⟩ = {computed:.12g}, but finite differences give {measured:.12g}; they differ "
        f"by {error:.3g}, more than {allowed:.3g} ({tolerance:g} of {scale:.3g}, plus rounding{precision}). {cause}"
    )


def require_power(rounding: float, derivatives: Sequence[Array]) -> None:
    """Raise ValueError if the rounding error of finite differences is not small beside the derivative.

    ⟨derivative, v⟩ ~ N(0, |derivative|²): at the limit, two draws accept it with probability 4 % if the true one is 0.
    """
    norm = math.sqrt(_sum_of_magnitudes(derivatives, derivatives))
    if rounding > norm / 4 > 0:
        raise ValueError(
            f"f: expected finite differences with a rounding error of at most {norm / 4:.3g}, ¼ of the derivative,"
            f" got {rounding:.3g}; compute in float64, or subtract a constant from f or x"
        )


def directional_derivative(
    problem: Problem, directions: Sequence[Array], cotangents: Sequence[Array], sufficient: float = 0.0
) -> tuple[float, float]:
    """Return d/dh Σ⟨c, f(x + h v)⟩ at h = 0 and an estimate of its error.

    Central differences with decreasing steps are extrapolated to h = 0 until the error is at most `sufficient`.
    """

    def at(h: float) -> float:
        ys = problem.f(*((x + h * v).astype(x.dtype) for x, v in zip(problem.xs, directions, strict=True)))
        return sum(float(np.sum(c * y.astype(np.float64))) for c, y in zip(cotangents, ys, strict=True))

    best, best_error, coarser = np.nan, np.inf, list[float]()
    for h in _STEPS[problem.dtype]:
        row = [(at(h) - at(-h)) / (2 * h)]
        for j, coarse in enumerate(coarser):
            # The step shrinks by 4 and the error series has even powers: each column removes the next one.
            extrapolated = row[j] + (row[j] - coarse) / (16.0 ** (j + 1) - 1)
            error = max(abs(extrapolated - row[j]), abs(extrapolated - coarse))
            if error < best_error:
                best, best_error = extrapolated, error
            row.append(extrapolated)
        coarser = row
        if best_error <= sufficient:
            break
    return best, best_error


def describe_wrong_entries(
    problem: Problem, cotangents: Sequence[Array], gradients: Sequence[Array], tolerance: float, allowed: float
) -> str:
    """Describe which entries of the gradients are wrong, and what a constant ratio suggests; '' if none are."""
    found = []
    for k, (name, g) in enumerate(zip(problem.names, gradients, strict=True)):
        if g.size > 1000:
            found.append(f"{name} has {g.size} entries and was not searched.")
            continue
        exact, wrong = np.zeros(g.shape), np.zeros(g.shape, bool)
        for place in np.ndindex(g.shape):
            directions = [np.zeros(x.shape) for x in problem.xs]
            directions[k][place] = 1
            exact[place], error = directional_derivative(problem, directions, cotangents)
            # A coarse test is enough, since the gradient is known to be wrong.
            limit = 10 * error + 0.1 * tolerance * abs(exact[place]) + 1e-3 * allowed
            wrong[place] = not abs(g[place] - exact[place]) <= limit
        if wrong.any():
            found.append(f"In the gradient of {name}, {describe(g, exact, wrong)}.")
    return " ".join(found)


def describe(computed: Array, exact: Array, wrong: Array) -> str:
    """Describe the wrong entries of an array: their number, the worst one, and what a constant ratio suggests."""
    place = tuple(map(int, np.unravel_index(np.argmax(np.where(wrong, np.abs(computed - exact), -1)), exact.shape)))
    return (
        f"{np.count_nonzero(wrong)} of {exact.size} entries are wrong, the worst at {place}: "
        f"{float(computed[place]):.9g} instead of {exact[place]:.9g}{_relation(computed, exact, wrong)}"
    )


def _relation(computed: Array, exact: Array, wrong: Array) -> str:
    """Say what a simple relation between wrong and exact values suggests, in parentheses; '' if there is none."""
    if not np.any(computed[wrong]):
        return " (all are 0: was the graph cut by .value, detach or no_grad, or is an edge missing?)"
    square = computed.ndim == 2 and computed.shape[0] == computed.shape[1] > 1
    if square and np.allclose(computed.T, exact, rtol=1e-3, atol=1e-5 * np.abs(exact).max()):
        return " (it is the transpose of the right one)"
    usable = wrong & (exact != 0)
    ratios = computed[usable] / exact[usable]
    if not ratios.size or not np.allclose(ratios, ratios[0], rtol=1e-3 if computed.dtype == np.float32 else 1e-5):
        return ""
    if np.isclose(ratios[0], -1):
        return " (the sign is flipped)"
    n = computed.size
    mean = f": a mean instead of a sum over {n} entries?" if n > 1 and np.isclose(ratios[0] * n, 1, rtol=1e-3) else ""
    return f" (all by a factor of {ratios[0]:.6g}{mean})"


def _sum_of_magnitudes(left: Sequence[Array], right: Sequence[Array]) -> float:
    return float(sum(np.sum(np.abs(a.astype(np.float64) * b)) for a, b in zip(left, right, strict=True)))
