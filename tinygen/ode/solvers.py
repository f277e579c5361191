"""Initial value problems dy/dt = f(t, y), solved by explicit Runge–Kutta methods with fixed or adaptive step size.

    kᵢ = f(t + cᵢ h, y + h Σⱼ aᵢⱼ kⱼ),   y(t + h) ≈ y + h Σᵢ bᵢ kᵢ,   cᵢ = Σⱼ aᵢⱼ

The state y is a tuple of arrays or tensors, and f returns a tuple of the same shapes. If they are tensors, the solution
is differentiable: the graph contains every accepted step. t1 may be before t0.

Source: Hairer, Nørsett & Wanner, "Solving Ordinary Differential Equations I", 2nd edition, 1993, sections II.1–II.5.
Checked by: tests/ode/test_solvers.py
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.tensor import array_of, node
from ..checks import as_number, at_least, check_positive, require
from ..recorded import Recorded

State: TypeAlias = tuple[Any, ...]  # of arrays or tensors
VectorField: TypeAlias = Callable[[float, State], State]  # f(t, y) = dy/dt


class IntegrationError(ArithmeticError):
    """The solver could not reach t1; the message gives the time and the reason."""


@dataclass(frozen=True)
class Tableau(Recorded):
    """Butcher tableau of an explicit Runge–Kutta method: the rows of a below the diagonal, and the weights b.

    For an embedded pair, `error` is b − b̂, where b̂ are the weights of the second method.

    Raises: ValueError unless row i of a has i numbers, and b and `error` have one per row, with sums 1 and 0.
    """

    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.a)
        require([len(row) for row in self.a] == [*range(n)], "a", "rows of 0, 1, 2, … numbers", self.a)
        require(len(self.b) == n and abs(sum(self.b) - 1) < 1e-9, "b", f"{n} weights with sum 1", self.b)
        fits = len(self.error) in (0, n) and abs(sum(self.error)) < 1e-9
        require(fits, "error", f"{n} differences of weights with sum 0, or none", self.error)

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage evaluates f at y(t + h), so that it is also the first stage of the next step."""
        return self.a[-1] == self.b[: len(self.a[-1])] and not any(self.b[len(self.a[-1]) :])


# The classical Runge-Kutta method, of order 4.
RK4 = Tableau(order=4, a=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6))
# Dormand & Prince, "A family of embedded Runge-Kutta formulae", 1980: order 5, with an embedded method of order 4.
DORMAND_PRINCE = Tableau(
    order=5,
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    error=(71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)


@dataclass(frozen=True)
class Solution:
    """The solution y(t1), with the number of evaluations of f and of accepted and rejected steps."""

    y: State
    evaluations: int
    accepted: int
    rejected: int = 0


Solver: TypeAlias = Callable[[VectorField, State, float, float], Solution]  # solver(f, y, t0, t1)


@dataclass(frozen=True)
class FixedStep(Recorded):
    """Runge–Kutta method with steps of equal size. There is no error estimate; with RK4 the error is O(steps⁻⁴).

    Raises: ValueError if steps is below 1 or f(t, y) differs from y in shape; IntegrationError if y(t1) is not finite.

    Example:
        >>> solution = FixedStep(10)(lambda t, y: (-y[0],), (np.ones(1),), 0.0, 1.0)
        >>> solution.y[0].round(6)  # exp(−1) = 0.367879…
        array([0.36788])
    """

    steps: int
    tableau: Tableau = RK4

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)

    def __call__(self, f: VectorField, y: State, t0: float, t1: float) -> Solution:
        t0, t1 = _check(y, t0=t0, t1=t1)
        f, h, start = _CheckedField(f), (t1 - t0) / int(self.steps), y
        with np.errstate(all="ignore"):  # the solution is checked instead
            for step in range(self.steps):
                t = t0 + step * h
                y, _ = _step(f, self.tableau, t, y, h, f(t, y))
            if not _finite(y):
                _check_start("FixedStep", t0, start, f(t0, start))
        if not _finite(y):
            raise IntegrationError(
                f"FixedStep: y is not finite at t = {t1:g}, after {self.steps} steps from {t0:g}; increase steps"
            )
        return Solution(y, f.evaluations, self.steps)


@dataclass(frozen=True)
class Adaptive(Recorded):
    """Embedded Runge–Kutta pair with adaptive step size, by default Dormand & Prince's of order 5.

        error = RMS over the state of |Σᵢ (bᵢ − b̂ᵢ) h kᵢ| / (atol + rtol · max(|y(t)|, |y(t + h)|))

    A step is accepted if its error estimate is at most 1. The tolerances bound the local error of each step, not the
    error of the solution. The examples of a batch share the steps, so the solution of one depends slightly on the rest
    of the batch, within the tolerance.

    Raises: ValueError if a tolerance is not positive, the tableau has no embedded method, f(t, y) differs from y in
        shape, or atol + rtol · |y| is below eps · |y|, the resolution of the state's dtype; IntegrationError if y or
        f(t0, y) is not finite, if the step size becomes too small to change t, as at a singularity, or after
        `max_steps` steps, including rejected ones.

    Example:
        >>> solution = Adaptive(rtol=1e-8, atol=1e-8)(lambda t, y: (-y[0],), (np.ones(1),), 0.0, 1.0)
        >>> solution.y[0].round(7)  # exp(−1) = 0.36787944…
        array([0.3678794])
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000
    tableau: Tableau = DORMAND_PRINCE

    def __post_init__(self) -> None:
        check_positive(rtol=self.rtol, atol=self.atol)
        at_least(1, max_steps=self.max_steps)
        require(len(self.tableau.error) > 0, "tableau", "an embedded method for the error estimate", "none")

    def __call__(self, f: VectorField, y: State, t0: float, t1: float) -> Solution:
        t0, t1 = _check(y, t0=t0, t1=t1)
        if t0 == t1:
            return Solution(y, 0, 0)
        f, tableau, t, accepted, rejected, previous_error = _CheckedField(f), self.tableau, t0, 0, 0, 1.0
        with np.errstate(all="ignore"):  # the solution is checked instead
            k = f(t, y)
            _check_start("Adaptive", t, y, k)
            h = self._initial_step_size(f, t, y, k, t1)
            while t != t1:
                self._check_resolution(y)
                self._check_progress(t, t1, h, accepted, rejected)
                is_last = abs(h) >= abs(t1 - t)
                h = t1 - t if is_last else h
                y_new, ks = _step(f, tableau, t, y, h, k)
                error = self._norm(_add_scaled((0.0,) * len(y), h, tableau.error, ks), y, y_new)
                if not (math.isfinite(error) and _finite(y_new)):
                    error = math.inf  # a smaller step may avoid the overflow
                if error <= 1:
                    t, y, accepted = t1 if is_last else t + h, y_new, accepted + 1
                    k = ks[-1] if tableau.first_same_as_last else f(t, y)
                    # PI control (Hairer & Wanner, volume II, section IV.2) damps oscillations of the step size.
                    error = max(error, 1e-10)
                    factor = 0.9 * error ** (-0.7 / tableau.order) * previous_error ** (0.4 / tableau.order)
                    h, previous_error = h * min(5.0, max(0.2, factor)), error
                else:
                    rejected += 1
                    h *= max(0.2, 0.9 * error ** (-1 / tableau.order))
        return Solution(y, f.evaluations, accepted, rejected)

    def _check_resolution(self, y: State) -> None:
        for part in map(array_of, y):
            eps = float(np.finfo(part.dtype if part.dtype.kind == "f" else np.float64).eps)
            if self.rtol < eps and part.size:
                largest = float(np.max(np.abs(part)))
                tolerance, least = self.atol + self.rtol * largest, eps * largest
                wanted = f"rtol · |y| + atol ≥ {least:.3g}, the resolution of {part.dtype} at |y| = {largest:.3g}"
                require(tolerance >= least, "rtol, atol", f"{wanted}, or a float64 state", f"{tolerance:.3g}")

    def _check_progress(self, t: float, t1: float, h: float, accepted: int, rejected: int) -> None:
        if accepted + rejected >= self.max_steps:
            raise IntegrationError(
                f"Adaptive: reached t = {t:g} of {t1:g} after max_steps = {self.max_steps} steps, {rejected} of them "
                f"rejected; the problem may be stiff, or the tolerance too small"
            )
        if not abs(h) > 16 * np.finfo(float).eps * abs(t):
            raise IntegrationError(
                f"Adaptive: at t = {t:g} a step size of {h:.3g} does not meet rtol {self.rtol:g}, atol {self.atol:g}; "
                f"the solution may have a singularity"
            )

    def _norm(self, values: State, y: State, y_new: State) -> float:
        """Return the root mean square of all values, each divided by its tolerance."""
        total, count = 0.0, 0
        for part, a, b in zip(map(array_of, values), map(array_of, y), map(array_of, y_new), strict=True):
            # In float64, as slopes over tolerances overflow smaller types.
            scaled = part.astype(np.float64) / (self.atol + self.rtol * np.maximum(np.abs(a), np.abs(b)))
            total, count = total + float(np.sum(np.square(scaled))), count + scaled.size
        return math.sqrt(total / count) if count else 0.0

    def _initial_step_size(self, f: VectorField, t: float, y: State, k: State, t1: float) -> float:
        """Estimate a step size with a local error of about 1 % of the tolerance (section II.4)."""
        y_norm, k_norm = self._norm(y, y, y), self._norm(k, y, y)
        h = min(0.01 * y_norm / k_norm if min(y_norm, k_norm) > 1e-5 else 1e-6, abs(t1 - t))
        if h == 0:  # the slope overflows in any step, which _check_progress reports
            return 0.0
        signed_h = math.copysign(h, t1 - t)
        with no_grad():  # one Euler step, to estimate the second derivative
            k_euler = f(t + signed_h, _add_scaled(y, signed_h, (1.0,), [k]))
            change = tuple(array_of(b) - array_of(a) for a, b in zip(k, k_euler, strict=True))
        derivative = max(k_norm, self._norm(change, y, y) / h)
        estimate = (0.01 / derivative) ** (1 / (self.tableau.order + 1)) if derivative > 1e-15 else max(1e-6, 1e-3 * h)
        h = min(100 * h, estimate) if math.isfinite(estimate) and estimate > 0 else h
        return math.copysign(max(h, 32 * np.finfo(float).eps * abs(t)), t1 - t)  # not too small to change t


class _CheckedField:
    """A vector field that counts its evaluations and rejects results of the wrong shape, which might broadcast."""

    def __init__(self, f: VectorField) -> None:
        self.f, self.evaluations = f, 0

    def __call__(self, t: float, y: State) -> State:
        k = self.f(t, y)
        self.evaluations += 1
        require(isinstance(k, tuple | list), "f", "a function that returns a tuple of arrays", type(k).__name__)
        got, expected = ([np.shape(array_of(part)) for part in state] for state in (k, y))
        if got != expected:
            raise ValueError(f"f: expected a tuple of arrays with the shapes of y, {expected}, got {got}")
        return tuple(part if isinstance(part, Tensor) else np.array(part) for part in k)  # f may reuse its arrays


def _check(y: State, **times: float) -> list[Any]:
    """Return the times: numbers as Python floats, Tensors unchanged.

    Raises: ValueError unless y is a tuple of arrays of real numbers, and all times are finite.
    """
    real = isinstance(y, tuple | list) and all(array_of(part).dtype.kind in "fiub" for part in y)
    require(real, "y", "a tuple of arrays of real numbers", type(y).__name__)
    for name, t in times.items():
        require(math.isfinite(t), name, "a finite number", t)
    return [as_number(t) for t in times.values()]


def _check_start(solver: str, t: float, y: State, k: State) -> None:
    """Raise IntegrationError if the initial value y or its slope k = f(t, y) is not finite."""
    if not _finite(y):
        raise IntegrationError(f"{solver}: the initial value y({t:g}) is not finite")
    if not _finite(k):
        raise IntegrationError(f"{solver}: f({t:g}, y) is not finite although y is; have its parameters diverged?")


def _step(f: VectorField, tableau: Tableau, t: float, y: State, h: float, k: State) -> tuple[State, list[State]]:
    """Return y(t + h) and the stages [k₁, k₂, …], given k = k₁."""
    ks, y_stage = [k], y
    for row in tableau.a[1:]:
        y_stage = _add_scaled(y, h, row, ks)
        ks.append(f(t + sum(row) * h, y_stage))
    return y_stage if tableau.first_same_as_last else _add_scaled(y, h, tableau.b, ks), ks


def _add_scaled(y: State, h: float, weights: tuple[float, ...], ks: list[State]) -> State:
    """Return y + h Σⱼ weightsⱼ kⱼ. Each part is recorded as a single node, to keep the graph small."""
    parts = []
    for part, *part_ks in zip(y, *ks, strict=True):
        terms = [(k, h * weight) for weight, k in zip(weights, part_ks, strict=True) if weight]
        total: Any = array_of(part)
        for k, weight in terms:
            total = total + array_of(k) * weight
        if any(isinstance(summand, Tensor) for summand in (part, *(k for k, _ in terms))):
            edges = [(k, lambda g, y, weight=weight: g * weight) for k, weight in terms]
            total = node("add_scaled", total, (part, lambda g, y: g), *edges)
        parts.append(total)
    return tuple(parts)


def _finite(y: State) -> bool:
    return all(np.all(np.isfinite(array_of(part))) for part in y)
