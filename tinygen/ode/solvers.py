"""Initial value problems dy/dt = f(t, y) by explicit Runge–Kutta methods, in equal steps or steps that fit a tolerance.

    kᵢ = f(t + cᵢ h, y + h Σⱼ aᵢⱼ kⱼ),   y(t + h) ≈ y + h Σᵢ bᵢ kᵢ,   cᵢ = Σⱼ aᵢⱼ

A state is a tuple of arrays or tensors, and f(t, y) a tuple of the same shapes. Of tensors, the solution is a tensor
that can be differentiated: the graph has every step that was taken. Time may run backwards, t1 < t0.

Source: Hairer, Nørsett & Wanner, "Solving Ordinary Differential Equations I", 2nd edition, 1993, sections II.1–II.5.
Checked by: tests/ode/test_solvers.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.tensor import array_of, node
from ..checks import at_least

State: TypeAlias = tuple[Any, ...]  # of arrays or of tensors
VectorField: TypeAlias = Callable[[float, State], State]


class IntegrationError(ArithmeticError):
    """The solution cannot be followed to its end: the message says from where on, and why."""


@dataclass(frozen=True)
class Tableau:
    """The numbers of an explicit method: a, row by row without its zeros, and b; b − b̂ of an embedded second method.

    `order` is that of the method, which goes on from the better of two.
    """

    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last slope of a step is the first one of the next, since it was taken at the step's result."""
        return self.a[-1] == self.b[: len(self.a[-1])] and not any(self.b[len(self.a[-1]) :])


RK4 = Tableau(order=4, a=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6))
# Dormand & Prince, "A family of embedded Runge-Kutta formulae", 1980: order 5, with one of order 4 for the error.
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
    """y(t1), how often f was evaluated for it, and how many steps were taken and thrown away."""

    y: State
    evaluations: int
    accepted: int
    rejected: int = 0


class Solver(Protocol):
    """A way from y(t0) to y(t1)."""

    def __call__(self, f: VectorField, y: State, t0: float, t1: float) -> Solution:
        """Follow dy/dt = f(t, y) from y at t0 to t1."""


@dataclass(frozen=True)
class FixedStep:
    """`steps` equal steps, by default of the classical method of order 4: the error falls as steps⁻⁴, and is not known.

    Raises ValueError if steps is below 1, or f(t, y) has other shapes than y; IntegrationError if y(t1) is not finite.
    """

    steps: int
    tableau: Tableau = RK4

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)

    def __call__(self, f: VectorField, y: State, t0: float, t1: float) -> Solution:
        counted, h = _Counted(f), (t1 - t0) / self.steps
        with _quiet():
            for step in range(self.steps):
                t = t0 + step * h
                y, _ = _step(counted, self.tableau, t, y, h, counted(t, y))
        if not _finite(y):
            raise IntegrationError(f"y({t1:g}) is not finite after {self.steps} steps from {t0:g}: take more of them?")
        return Solution(y, counted.evaluations, self.steps)


@dataclass(frozen=True)
class Adaptive:
    """Steps as long as the tolerances let them be, by default of Dormand & Prince's method of order 5.

        error = RMS over the whole state of |Σᵢ (bᵢ − b̂ᵢ) h kᵢ| / (atol + rtol · max(|y|, |y new|)),   accepted if ≤ 1

    A batch is one state: its examples share the steps, so that one of them is solved a little differently in other
    company, within the tolerance.

    Raises ValueError if a tolerance is not positive or f(t, y) has other shapes than y; IntegrationError if f(t0, y) is
    not finite, if the steps become too small to move t, as at a singularity, and after `max_steps`.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000
    tableau: Tableau = DORMAND_PRINCE

    def __post_init__(self) -> None:
        for name, value in {"rtol": self.rtol, "atol": self.atol}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if not self.tableau.error:
            raise ValueError("tableau: expected one with an embedded method for the error, got none")

    def __call__(self, f: VectorField, y: State, t0: float, t1: float) -> Solution:
        f, tableau, t, accepted, rejected, before = _Counted(f), self.tableau, t0, 0, 0, 1.0
        if t0 == t1:
            return Solution(y, 0, 0)
        with _quiet():
            slope = f(t, y)
            if not _finite((*y, *slope)):
                raise IntegrationError(f"y({t:g}) or f({t:g}, y) is not finite")
            h = self._first_step(f, t, y, slope, t1)
            while t != t1:
                if accepted + rejected >= self.max_steps:
                    raise IntegrationError(
                        f"{self.max_steps} steps from {t0:g} led only to t = {t:g}, not to {t1:g}: a stiff problem, or "
                        f"too small a tolerance? {rejected} of the steps were rejected"
                    )
                if not abs(h) > 16 * np.finfo(float).eps * max(abs(t), abs(t1 - t0)):
                    raise IntegrationError(
                        f"at t = {t:g} a step of {h:.3g} is still too long for rtol {self.rtol:g}, atol {self.atol:g}: "
                        f"a singularity?"
                    )
                last = abs(h) >= abs(t1 - t)
                h = t1 - t if last else h
                new, slopes = _step(f, tableau, t, y, h, slope)
                doubt = tuple(_plus(0.0, h, tableau.error, slopes, i) for i in range(len(y)))
                error = self._norm(doubt, y, new)
                error = error if math.isfinite(error) and _finite(new) else math.inf  # too far: a shorter step may do
                if error <= 1:
                    t, y, accepted = t1 if last else t + h, new, accepted + 1
                    slope = slopes[-1] if tableau.first_same_as_last else f(t, y)
                    # PI control (section IV.2): the error before also counts, so that steps do not go up and down.
                    error = max(error, 1e-10)
                    h *= min(5.0, max(0.2, 0.9 * error ** (-0.7 / tableau.order) * before ** (0.4 / tableau.order)))
                    before = error
                else:
                    rejected += 1
                    h *= max(0.2, 0.9 * error ** (-1 / tableau.order))
        return Solution(y, f.evaluations, accepted, rejected)

    def _norm(self, values: State, y: State, other: State) -> float:
        """Root of the mean square of all values, each in units of what is tolerated."""
        total, count = 0.0, 0
        for part, a, b in zip(map(array_of, values), map(array_of, y), map(array_of, other), strict=True):
            scaled = part / (self.atol + self.rtol * np.maximum(np.abs(a), np.abs(b)))
            total, count = total + float(np.sum(np.square(scaled, dtype=np.float64))), count + scaled.size
        return math.sqrt(total / count) if count else 0.0

    def _first_step(self, f: VectorField, t: float, y: State, slope: State, t1: float) -> float:
        """Guess a step whose error is about a hundredth of the tolerance, from f and its change (section II.4)."""
        size, speed = self._norm(y, y, y), self._norm(slope, y, y)
        h = min(0.01 * size / speed if min(size, speed) > 1e-5 else 1e-6, abs(t1 - t))
        h_signed = math.copysign(h, t1 - t)
        with no_grad():
            there = f(t + h_signed, tuple(_plus(part, h_signed, (1.0,), [slope], i) for i, part in enumerate(y)))
            change = tuple(array_of(b) - array_of(a) for a, b in zip(slope, there, strict=True))
        bend = max(speed, self._norm(change, y, y) / h)
        guess = (0.01 / bend) ** (1 / (self.tableau.order + 1)) if bend > 1e-15 else max(1e-6, 1e-3 * h)
        return math.copysign(min(100 * h, guess) if math.isfinite(guess) and guess > 0 else h, t1 - t)


class _Counted:
    """f, counting how often it is evaluated, and refusing results that NumPy would broadcast."""

    def __init__(self, f: VectorField) -> None:
        self.f, self.evaluations = f, 0

    def __call__(self, t: float, y: State) -> State:
        slope = self.f(t, y)
        self.evaluations += 1
        if [np.shape(array_of(part)) for part in slope] != [np.shape(array_of(part)) for part in y]:
            shapes = " and ".join(str([np.shape(array_of(part)) for part in state]) for state in (y, slope))
            raise ValueError(f"f: expected a tuple of the state's shapes, got those of y and f(t, y): {shapes}")
        return slope


def _step(f: VectorField, tableau: Tableau, t: float, y: State, h: float, slope: State) -> tuple[State, list[State]]:
    """Go from t to t + h: y there, and the slopes on the way, of which the first is given."""
    slopes, there = [slope], y
    for row in tableau.a[1:]:
        there = tuple(_plus(part, h, row, slopes, i) for i, part in enumerate(y))
        slopes.append(f(t + sum(row) * h, there))
    if not tableau.first_same_as_last:
        there = tuple(_plus(part, h, tableau.b, slopes, i) for i, part in enumerate(y))
    return there, slopes


def _plus(part: Any, h: float, weights: tuple[float, ...], slopes: list[State], i: int) -> Any:
    """Add h Σⱼ weightsⱼ slopesⱼ to the i-th part of the state."""
    terms = [(slope[i], h * weight) for weight, slope in zip(weights, slopes, strict=False) if weight]
    total = array_of(part)
    for slope, weight in terms:
        total = total + array_of(slope) * weight
    if not any(isinstance(summand, Tensor) for summand in (part, *(slope for slope, _ in terms))):
        return total
    rules = [(slope, lambda g, y, weight=weight: g * weight) for slope, weight in terms]
    return node("plus", total, (part, lambda g, y: g), *rules)  # one node: there are many of these sums in a solution


def _finite(y: State) -> bool:
    return all(np.all(np.isfinite(array_of(part))) for part in y)


def _quiet() -> Any:
    """No warnings: what overflows on the way is noticed by the solvers themselves."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")
