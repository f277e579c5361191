"""Directional derivatives by extrapolated finite differences, and a search for the wrong entries of a gradient.

Source: Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", 1982.
Checked by: tests/testing/test_gradients.py
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import Array, Tensor

Function = Callable[..., list[Tensor]]

# Coarse steps give the best extrapolation where f is smooth; fine steps tolerate a nearby kink. The finest step
# magnifies rounding errors of f by 2¹².
_STEPS = tuple(2.0**-k for k in (4, 6, 8, 10, 12))
ROUNDING = float(np.finfo(np.float64).eps) / _STEPS[-1]


def directional_derivative(
    f: Function, xs: list[Array], directions: Sequence[Array], cotangents: list[Array], sufficient: float = 0.0
) -> tuple[float, float]:
    """Return d/dh Σ⟨c, f(x + h v)⟩ at h = 0 and an estimate of its error.

    Central differences with decreasing steps are extrapolated to h = 0 until the error is at most `sufficient`.
    """

    def at(h: float) -> float:
        ys = f(*(Tensor(x + h * v) for x, v in zip(xs, directions, strict=True)))
        return sum(float(np.sum(c * y.value)) for c, y in zip(cotangents, ys, strict=True))

    best, best_error, coarser = np.nan, np.inf, list[float]()
    for h in _STEPS:
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
    f: Function, xs: list[Array], names: list[str], cotangents: list[Array], gradients: list[Array], allowed: float
) -> str:
    """Describe which entries of the gradients are wrong, and what a constant ratio suggests; '' if none are."""
    found = []
    for k, (name, g) in enumerate(zip(names, gradients, strict=True)):
        if g.size > 1000:
            found.append(f"{name} has {g.size} entries and was not searched.")
            continue
        wrong = []
        for place in np.ndindex(g.shape):
            directions = [np.zeros_like(x) for x in xs]
            directions[k][place] = 1
            measured, error = directional_derivative(f, xs, directions, cotangents)
            # A coarse test is enough, since the gradient is known to be wrong.
            if not abs(g[place] - measured) <= 10 * error + 1e-9 * abs(measured) + 1e-3 * allowed:
                wrong.append((place, float(g[place]), measured))
        if wrong:
            place, computed, measured = max(wrong, key=lambda entry: abs(entry[1] - entry[2]))
            found.append(
                f"In the gradient of {name}, {len(wrong)} of {g.size} entries are wrong, the worst at {place}: "
                f"{computed:.9g} instead of {measured:.9g}{_hint([(c, m) for _, c, m in wrong])}."
            )
    return " ".join(found)


def _hint(pairs: list[tuple[float, float]]) -> str:
    if all(computed == 0 for computed, _ in pairs):
        return " (all are 0: was the graph cut by .value or no_grad, or is an edge missing?)"
    ratios = [computed / measured for computed, measured in pairs if measured != 0]
    if not ratios or not np.allclose(ratios, ratios[0], rtol=1e-5):
        return ""
    return " (the sign is flipped)" if np.isclose(ratios[0], -1) else f" (all by a factor of {ratios[0]:.6g})"
