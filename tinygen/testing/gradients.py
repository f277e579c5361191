"""Is my gradient right? Is this map really the adjoint of that one?

Checked by: tests/testing/test_gradients.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, grad

# Steps of the finite differences: the coarse ones extrapolate best where f is smooth, the fine ones bear a kink nearby;
# the rounding error of f is magnified by at most 2¹².
_STEPS = tuple(2.0**-k for k in (4, 6, 8, 10, 12))
_ROUNDING = float(np.finfo(np.float64).eps) / _STEPS[-1]


def check_grads(
    f: Callable[..., Tensor],
    *xs: TensorLike,
    order: int = 2,
    rng: np.random.Generator,
    tolerance: float = 1e-8,
    draws: int = 2,
) -> None:
    """Hold the derivatives of f, up to an order, against finite differences.

        Σ ⟨x̄, v⟩ = d/dh ⟨c, f(x + h v)⟩ at h = 0,   x̄ = cᵀ ∂f/∂x from `grad`,   random directions v and cotangents c

    The right-hand side is extrapolated to h = 0 from central differences with steps 2⁻⁴ … 2⁻¹², which also gives an
    estimate of its own error. For order 2 the same is asked of the map (x, c) ↦ x̄, and so on. Besides, gradients have
    the shape and dtype of their inputs and share no memory, nothing is written to, and the second call gives the same.

    The error allowed is `tolerance` · Σ|x̄ v| and the rounding error of f at the finest step, 2¹² ε Σ|c f(x)|.

    Shapes: any. f takes float64 tensors, of O(1) and away from kinks, and returns one.
    Raises AssertionError if a derivative is wrong, or if f does not depend on one of the xs so that nothing is checked;
    TypeError if an input is not float64, since differences of float32 resolve three digits at best.
    Source: Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", 1982, for the extrapolation; JAX's check_grads for
    the recursion.
    Checked by: tests/testing/test_gradients.py
    """
    arrays = [_float64(f"xs[{i}]", x) for i, x in enumerate(xs)]
    if not arrays or any(x.size == 0 for x in arrays):
        raise ValueError(f"check_grads: nothing to check in inputs of shapes {[x.shape for x in arrays]}")
    names = [f"xs[{i}]" for i in range(len(arrays))]
    stage = _Stage(1, lambda *tensors: [f(*tensors)], arrays, names)
    for number in range(1, order + 1):
        reached = [stage.check(rng, tolerance) for _ in range(draws)]
        constant = [name for name, *moves in zip(names, *reached, strict=False) if not any(moves)]
        if number == 1 and constant:
            raise AssertionError(
                f"check_grads: f does not depend on {', '.join(constant)}: the gradient and the finite difference are "
                f"both 0, so nothing is checked. Leave it out, or choose a point where f moves."
            )
        stage = stage.next(rng)


def check_parameter_grads(
    loss: Callable[[], Tensor],
    parameters: Sequence[Parameter],
    *,
    order: int = 1,
    rng: np.random.Generator,
    tolerance: float = 1e-8,
    draws: int = 2,
) -> None:
    """Do as check_grads does, by parameters which `loss` finds for itself, say those of a model.

    Meanwhile each parameter is a node on top of a tensor of its value; afterwards it is as it was.
    Raises as check_grads does: convert the model first, model.astype(np.float64).
    Checked by: tests/testing/test_gradients.py
    """
    values = [p.value for p in parameters]

    def of_values(*tensors: Tensor) -> Tensor:
        for p, x in zip(parameters, tensors, strict=True):
            p.assign(x.value)
            p.edges = ((x, lambda g, y: g),)
        return loss()

    try:
        check_grads(of_values, *values, order=order, rng=rng, tolerance=tolerance, draws=draws)
    finally:
        for p, value in zip(parameters, values, strict=True):
            p.assign(value)
            p.edges = ()


def check_adjoint(
    forward: Callable[[Array], Array | Tensor],
    adjoint: Callable[[Array], Array | Tensor],
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-12,
    draws: int = 3,
) -> None:
    """Hold two maps against the definition of an adjoint pair.

        ⟨A x, y⟩ = ⟨x, Aᵀ y⟩        A(α u + β v) = α A u + β A v, and so for Aᵀ

    Shapes: forward takes x_shape to y_shape, adjoint back.
    Raises AssertionError if an equation fails by more than `tolerance` of the magnitudes of its terms, or if A u = 0
    for a random u, so that nothing is checked.
    Checked by: tests/testing/test_gradients.py
    """
    for _ in range(draws):
        x, ax = _linear("forward", forward, x_shape, y_shape, rng, tolerance)
        y, aty = _linear("adjoint", adjoint, y_shape, x_shape, rng, tolerance)
        left, right = float(np.sum(ax * y)), float(np.sum(x * aty))
        allowed = tolerance * float(np.sum(np.abs(ax * y)) + np.sum(np.abs(x * aty)))
        if not abs(left - right) <= allowed:
            raise AssertionError(
                f"check_adjoint: ⟨A x, y⟩ = {left:.15g}, ⟨x, Aᵀ y⟩ = {right:.15g}; they differ by "
                f"{abs(left - right):.3g}, allowed is {allowed:.3g}. Both maps are linear, so this is the adjoint of "
                f"another map: transposed the wrong way, an offset of the wrong sign, a missing factor?"
            )


def _linear(
    name: str,
    linear: Callable[[Array], Array | Tensor],
    start: tuple[int, ...],
    end: tuple[int, ...],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[Array, Array]:
    """Check that a map is linear and takes one shape to the other; return a random input and its image."""
    u, v, (a, b) = rng.normal(size=start), rng.normal(size=start), rng.normal(size=2)
    images = [linear(x) for x in (u, v, a * u + b * v)]
    au, av, both = (x.value if isinstance(x, Tensor) else x for x in images)
    if au.shape != end:
        raise AssertionError(f"check_adjoint: {name} takes shape {start} to {au.shape}, not to {end}")
    if not np.any(au):
        raise AssertionError(f"check_adjoint: {name} takes a random input to 0, so nothing is checked")
    error = float(np.max(np.abs(both - (a * au + b * av))))
    allowed = tolerance * float(np.max(np.abs(a * au) + np.abs(b * av)))
    if not error <= allowed:
        raise AssertionError(
            f"check_adjoint: {name} is not linear: A(α u + β v) and α A u + β A v differ by {error:.3g}, allowed is "
            f"{allowed:.3g}. A bias, a nonlinearity, float32 inside, or is its input changed in place?"
        )
    return u, au


def _float64(name: str, x: TensorLike) -> Array:
    value = x.value if isinstance(x, Tensor) else np.asarray(x)
    if value.dtype != np.float64:
        raise TypeError(
            f"check_grads: {name} is {value.dtype}; finite differences need float64: pass x.astype(np.float64), and a "
            f"model as model.astype(np.float64)"
        )
    return value


@dataclass(frozen=True)
class _Stage:
    """One order of the check: a map from several arrays to several, and its gradient."""

    order: int
    f: Callable[..., list[Tensor]]
    xs: list[Array]
    names: list[str]

    def next(self, rng: np.random.Generator) -> _Stage:
        """Make the stage that checks this one's VJP, (x, c) ↦ cᵀ ∂f/∂x."""
        n = len(self.xs)
        cotangents = [rng.normal(size=y.shape) for y in self.f(*map(Tensor, self.xs))]

        def pulled_back(*tensors: Tensor) -> list[Tensor]:
            return _pull_back(self.f(*tensors[:n]), tensors[:n], tensors[n:], create_graph=True)

        labels = [f"cotangent {i} of order {self.order}" for i in range(len(cotangents))]
        return _Stage(self.order + 1, pulled_back, self.xs + cotangents, self.names + labels)

    def check(self, rng: np.random.Generator, tolerance: float) -> list[bool]:
        """Compare along one random direction with one random cotangent; tell which inputs have a gradient but 0."""
        ys = self.outputs()
        cotangents = [rng.normal(size=y.shape) for y in ys]
        gradients = self.gradients(cotangents)
        directions = [rng.normal(size=x.shape) for x in self.xs]
        rounding = _ROUNDING * sum(float(np.sum(np.abs(c * y))) for c, y in zip(cotangents, ys, strict=True))

        products = [g * v for g, v in zip(gradients, directions, strict=True)]
        computed = sum(float(np.sum(p)) for p in products)
        scale = sum(float(np.sum(np.abs(p))) for p in products)
        allowed = tolerance * scale + rounding
        measured, doubt = self.slope(cotangents, directions, rounding)
        error = abs(computed - measured)
        if not error <= allowed:
            unsettled = not doubt <= max(allowed, 0.01 * error)
            cause = (
                f"The finite differences have settled to {doubt:.3g} only: is x beside a kink or a pole, or is f noisy?"
                if unsettled
                else self.diagnosis(cotangents, gradients, allowed)
            )
            raise AssertionError(
                f"check_grads, order {self.order}: Σ⟨gradient, v⟩ = {computed:.12g}, by finite differences "
                f"{measured:.12g}; they differ by {error:.3g}, allowed is {allowed:.3g} ({tolerance:g} of "
                f"{scale:.3g}, and rounding). {cause}"
            )
        return [bool(np.any(g)) for g in gradients]

    def outputs(self) -> list[Array]:
        """Evaluate f, twice, to see that it is float64 and not random."""
        first, second = self.f(*map(Tensor, self.xs)), self.f(*map(Tensor, self.xs))
        for y, again in zip(first, second, strict=True):
            if not isinstance(y, Tensor):
                raise TypeError(f"check_grads: f returns a {type(y).__name__}, not a Tensor")
            if y.dtype != np.float64:
                raise TypeError(f"check_grads: f of float64 is {y.dtype}; is a parameter or constant in it {y.dtype}?")
            if not np.array_equal(y.value, again.value, equal_nan=True):
                raise AssertionError("check_grads: f called twice gives two values; if it is random, seed it inside f")
        return [y.value for y in first]

    def gradients(self, cotangents: list[Array]) -> list[Array]:
        """Take the gradients, twice, and look at everything but their values."""
        held = [*self.xs, *cotangents]
        before = [x.copy() for x in held]
        inputs = [Tensor(x) for x in self.xs]
        ys = self.f(*inputs)
        first, second = (_pull_back(ys, inputs, cotangents, create_graph=False) for _ in range(2))
        names = self.names + ["the cotangent"] * len(cotangents)
        where = f"check_grads, order {self.order}"
        for name, x, was in zip(names, held, before, strict=True):
            if not np.array_equal(x, was, equal_nan=True):
                raise AssertionError(f"{where}: {name} was changed in place, by f or by its gradient")
        for name, x, g, again in zip(self.names, self.xs, first, second, strict=True):
            if g.shape != x.shape or g.dtype != x.dtype:
                raise AssertionError(f"{where}: {name} is {x.dtype} {x.shape} but its gradient {g.dtype} {g.shape}")
            if not np.array_equal(g.value, again.value, equal_nan=True):
                raise AssertionError(
                    f"{where}: grad called again gives another gradient by {name}; a rule has changed its cotangent, "
                    f"or an array that the graph holds, in place"
                )
        results = [g.value for g in first]
        owned = list(zip(self.names, results, strict=True))
        for (name, mine), (other, x) in itertools.chain(
            itertools.combinations(owned, 2), itertools.product(owned, zip(names, held, strict=True))
        ):
            if np.shares_memory(mine, x):
                raise AssertionError(f"{where}: the gradient by {name} shares memory with {other} or its gradient")
        return results

    def slope(self, cotangents: list[Array], directions: Sequence[Array], good: float) -> tuple[float, float]:
        """d/dh Σ⟨c, f(x + h v)⟩ at h = 0 and an estimate of its error; stops when that is `good`."""

        def at(h: float) -> float:
            ys = self.f(*(Tensor(x + h * v) for x, v in zip(self.xs, directions, strict=True)))
            return sum(float(np.sum(c * y.value)) for c, y in zip(cotangents, ys, strict=True))

        best, doubt, coarser = np.nan, np.inf, list[float]()
        for h in _STEPS:
            row = [(at(h) - at(-h)) / (2 * h)]
            for j, coarse in enumerate(coarser):
                # The step shrinks by 4 and the error series has even powers: each column removes the next one.
                extrapolated = row[j] + (row[j] - coarse) / (16.0 ** (j + 1) - 1)
                error = max(abs(extrapolated - row[j]), abs(extrapolated - coarse))
                if error < doubt:
                    best, doubt = extrapolated, error
                row.append(extrapolated)
            coarser = row
            if doubt <= good:
                break
        return best, doubt

    def diagnosis(self, cotangents: list[Array], gradients: list[Array], allowed: float) -> str:
        """Say which entries are wrong, and what a constant ratio hints at."""
        found = []
        for k, (name, g) in enumerate(zip(self.names, gradients, strict=True)):
            if g.size > 1000:
                found.append(f"{name} was not searched, it has {g.size} entries.")
                continue
            wrong = []
            for place in np.ndindex(g.shape):
                directions = [np.zeros_like(x) for x in self.xs]
                directions[k][place] = 1
                measured, doubt = self.slope(cotangents, directions, 0.0)
                # That there is an error is known already: this only has to find the entries to show.
                if not abs(g[place] - measured) <= 10 * doubt + 1e-9 * abs(measured) + 1e-3 * allowed:
                    wrong.append((place, float(g[place]), measured))
            if wrong:
                place, computed, measured = max(wrong, key=lambda entry: abs(entry[1] - entry[2]))
                found.append(
                    f"By {name}, {len(wrong)} of {g.size} entries are wrong, the worst at {place}: {computed:.9g} "
                    f"instead of {measured:.9g}{_hint([(c, m) for _, c, m in wrong])}."
                )
        if self.order > 1:
            found.append(
                f"Order {self.order - 1} is right, so a rule is not written in tensor operations, or captures .value?"
            )
        return " ".join(found) or "No single entry is wrong beyond rounding: is f discontinuous nearby?"


def _hint(pairs: list[tuple[float, float]]) -> str:
    if all(computed == 0 for computed, _ in pairs):
        return " (0 throughout: was the graph cut by .value or no_grad, or an edge forgotten?)"
    ratios = [computed / measured for computed, measured in pairs if measured != 0]
    if not ratios or not np.allclose(ratios, ratios[0], rtol=1e-5):
        return ""
    return " (the sign is flipped)" if np.isclose(ratios[0], -1) else f" (a factor of {ratios[0]:.6g} throughout)"


def _pull_back(
    ys: list[Tensor], xs: Sequence[Tensor], cotangents: Sequence[TensorLike], create_graph: bool
) -> list[Tensor]:
    """Σ cᵀ ∂y/∂x over the outputs y."""
    total = grad(ys[0], xs, cotangents[0], create_graph, allow_unreached=True)
    for y, c in zip(ys[1:], cotangents[1:], strict=True):
        total = [a + b for a, b in zip(total, grad(y, xs, c, create_graph, allow_unreached=True), strict=True)]
    return total
