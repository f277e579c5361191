"""Faults of networks that see what they must not see, or do not see what they should."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygen.testing import check_autoregressive, check_conditional, check_equivariant

from .table import Fault, Right, Table, after, before, noise, of

RNG = np.random.default_rng(1)
ROWS, WEIGHTS = RNG.normal(size=(3, 5)), RNG.normal(size=(2, 2, 5, 5))
STRICT, LOWER, ALL = np.tril(np.ones((5, 5)), -1), np.tril(np.ones((5, 5))), np.ones((5, 5))


def made(which: int) -> Right:
    """x ↦ tanh(x (M₀ W)ᵀ) (M₁ V)ᵀ with the masks M"""
    return lambda xp: {"f": network(xp, which, STRICT, LOWER), "x": ROWS}


def network(xp: Any, which: int, *masks: Any) -> Any:
    first, second = (of(xp, mask * w) for mask, w in zip(masks, WEIGHTS[which], strict=True))
    return lambda x: xp.tanh(x @ first.T) @ second.T


def masked(*masks: Any, **settings: Any) -> Fault:
    """A fault that replaces the masks."""
    return lambda xp, a: {"f": network(xp, a.which, *masks), **settings}


def leak(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    def f(x: Any) -> Any:
        y = a.f(x)
        y[:, 2] += 1e-12 * x[:, 4]
        return y

    return {"f": f}


AUTOREGRESSIVE = Table(
    check_autoregressive,
    (made(0), made(1)),
    {
        "an output changes with an input that it must not see": masked(ALL, LOWER),
        "an output ignores an input that it should see": masked(STRICT, STRICT),
        "Is a mask missing, transposed, or built for another order": masked(ALL, ALL),
        "mask B in the first layer, or masks A and B swapped": masked(LOWER, LOWER),
        "is the order reversed": masked(STRICT.T, LOWER.T),
        "Only a few pairs are wrong: is it a border, padding": leak,
        "All inputs are ignored": after("f", lambda y: 0 * y),
        "mask A instead of mask B": masked(STRICT, LOWER, inclusive=True),
        "Are there fewer taps or layers than expected": masked(np.eye(5, k=-1), np.eye(5)),
        "f is random: seed it or disable its dropout": after("f", lambda y: y * noise()),
        "expected a shape that starts with (3, 5), got (3, 4)": after("f", lambda y: y[:, :4]),
        "does f average or reorder the batch": after("f", lambda y: y + y.mean(0)),
        "the result of f: expected finite numbers": after("f", lambda y: y * math.nan),
    },
)

X, CONTEXT = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
TO_X = RNG.normal(size=(2, 3))


def scaled(xp: Any) -> dict[str, Any]:
    return {"f": lambda x, c: x * xp.exp(c @ of(xp, TO_X)), "x": X, "context": CONTEXT}


def shifted(xp: Any) -> dict[str, Any]:
    return {"f": lambda x, c: xp.tanh(x + c @ of(xp, TO_X)).sum(1), "x": X, "context": CONTEXT}


def merged(xp: Any, a: Any) -> dict[str, Any]:
    """Treat two of three classes alike."""
    f, to_two = a.f, of(xp, np.eye(2)[[0, 1, 1]])
    return {"f": lambda x, c: f(x, c @ to_two), "context": np.eye(3)[[0, 1, 2, 0, 1, 2]]}


CONDITIONAL = Table(
    check_conditional,
    (scaled, shifted),
    {
        "of the context change nothing": lambda xp, a: before("f", lambda x, c: (x, c * of(xp, np.eye(2)[0])))(xp, a),
        "give the same results; are classes merged": merged,
        "f ignores its context": before("f", lambda x, c: (x, 0 * c)),
        "Each context reaches another example": lambda xp, a: before("f", lambda x, c: (x, xp.roll(c, 1, 0)))(xp, a),
        "Is there a mean or a normalisation over the batch": before("f", lambda x, c: (x, c - c.mean(0))),
        "does it apply to a part of the batch": before("f", lambda x, c: (x, c * (x[:, :1] > 0))),
        "expected one result per example": after("f", lambda y: y.sum()),
        "the context of example 0 changes the results": before("f", lambda x, c: (x, 0 * c + c[0])),
        "two calls of f with the same arguments differ": after("f", lambda y: y + noise()),
    },
)

# Rows of 7: k ↦ 4 k mod 7 turns a shift by one into a shift by two.
SEVEN = RNG.normal(size=(2, 7))
PLACES = np.arange(7.0)


def difference(xp: Any) -> dict[str, Any]:
    return {"f": lambda x: x - xp.roll(x, 1, 1), "transform": lambda x: np.roll(x, 1, 1), "x": SEVEN}


def circular(xp: Any) -> dict[str, Any]:
    f = lambda x: xp.tanh(x + 2 * xp.roll(x, 2, 1) - xp.roll(x, -1, 1))
    return {"f": f, "transform": lambda x: np.roll(x, 1, 1), "x": SEVEN}


def zero_padded(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    def f(x: Any) -> Any:
        y = a.f(x)
        y[:, 0] = x[:, 0]
        return y

    return {"f": f}


def along(xp: Any, y: Any) -> Any:
    """Return the standard deviation of every row, times the position."""
    return y.std(1)[:, None] * of(xp, PLACES)


EQUIVARIANT = Table(
    check_equivariant,
    (difference, circular),
    {
        "but T′ f(x) =": after("f", lambda y: y + 0.01 * y[:, :1]),
        "depend on the position, an order of its inputs": lambda xp, a: after("f", lambda y: y * of(xp, PLACES))(xp, a),
        "f(T x) = f(x): f is invariant instead": lambda xp, a: after("f", lambda y: along(xp, y))(xp, a),
        "moves in the opposite direction": lambda xp, a: after("f", lambda y: xp.flip(y, (1,)))(xp, a),
        "moves twice as far": after("f", lambda y: y[:, [0, 4, 1, 5, 2, 6, 3]]),
        "Only a few entries are wrong: is it a border": zero_padded,
        "it must map inputs to inputs": after("transform", lambda x: x * math.nan),
        "transform: expected float64 of shape (2, 7)": after("transform", lambda x: x[:, 1:]),
        "f(T x): expected shape": lambda xp, a: {"output_transform": lambda y: y[:, 1:]},
        "the transform does not change f(x)": after("f", lambda y: y.std(1)[:, None] + 0 * y),
        "f(x) does not depend on x": lambda xp, a: after("f", lambda y: 0 * y + of(xp, PLACES))(xp, a),
    },
)
