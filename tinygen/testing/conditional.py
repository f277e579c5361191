"""Check that a function uses its context: each example its own row, and every part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import check_rng, require
from .calls import Convert, Function, check_input, check_positive, record, resolution


def check_conditional(
    f: Callable[..., Any],
    x: Array,
    context: Array,
    *,
    rng: np.random.Generator,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None:
    """Check that the result for each example depends on its whole context, and not on the context of another example.

    The context of one example at a time is replaced by that of another example, so labels and one-hot vectors stay
    valid. The result must change for this example only. Then, if the contexts are labels or one-hot vectors, all
    examples are evaluated with each class that occurs, and no two classes may give the same results. Otherwise, each
    entry of the context vectors is exchanged on its own, and must change a result.

    Args:
        f: called as f(x, context), such as a conditional log_prob, a decoder or the forward method of a flow; the first
            array of a tuple is used.
        x: the inputs (N, …), N ≥ 2.
        context: the contexts (N, …), not all equal.
        tolerance: of changes that are rounding errors, relative to |f|, or to the largest |f| if that is below 1; by
            default 1e-9, or 1e-5 for float32. An adaptive solver, which chooses its steps for the whole batch, needs a
            larger one.
        convert: maps the arrays to what f takes, such as torch.from_numpy.

    Shapes: f(x, context) (N, …).
    Raises: AssertionError with the likely fault; ValueError or TypeError if the arguments are unsuitable.
    Checked by: tests/testing/test_conditional.py

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, context = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
        >>> check_conditional(lambda x, c: x * np.exp(c), x, context, rng=rng)
        >>> check_conditional(lambda x, c: x * np.exp(c.mean(0)), x, context, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_conditional: the context of example 0 changes the results of other examples: 1, 2, 3. ...
    """
    check_rng(rng)
    check_positive(tolerance=tolerance)
    check_input("x", x, least=2, kinds="fiub")
    check_input("context", context, kinds="fiub")
    require(len(context) == len(x), "context", f"{len(x)} rows, one per example of x", len(context))
    rows = context.reshape(len(context), -1)
    require(bool(np.any(rows != rows[:1])), "context", "rows that are not all equal", f"shape {context.shape}")
    function = Function("check_conditional", "f", f, ["x", "context"], convert)
    y = _result(function, x, context)
    # Not bitwise: the results of an iterative solver may depend slightly on the rest of the batch.
    near = tolerance or max(1e-9, 80 * resolution(y))
    depends = np.zeros((len(x), len(x)), bool)  # [i, j]: result i on context j
    partners = [_different(rows, j, rng) for j in range(len(x))]
    for j, partner in enumerate(partners):
        swapped = context.copy()
        swapped[j] = context[partner]
        depends[:, j] = _changed(_result(function, x, swapped), y, near)
    _check_independence(depends)
    labels = context.ndim == 1 and context.dtype.kind != "f"
    one_hot = rows.shape[1] > 1 and bool(np.all(np.isin(rows, (0, 1))) and np.all(rows.sum(1) == 1))
    if labels or one_hot:
        _check_classes(function, x, context, near)
    elif ignored := _ignored_entries(function, x, context, y, near):
        raise AssertionError(
            f"check_conditional: entries {', '.join(map(str, ignored[:8]))} of the context change nothing; is a part "
            f"of the context cut off, or are the weights of these entries zero?"
        )
    if len(unchanged := np.flatnonzero(~np.diag(depends))):
        raise AssertionError(
            f"check_conditional: the results of examples {', '.join(map(str, unchanged[:8]))} ignore their context; "
            f"does it apply to a part of the batch only?"
        )
    record(f"every context changes its own result only; {rows.shape[1]} entries per context")


def _check_independence(depends: Array) -> None:
    """Raise AssertionError if no result depends on a context, or one on the context of another example."""
    n, own = len(depends), np.diag(depends)
    others = depends & ~np.eye(n, dtype=bool)
    if not depends.any():
        raise AssertionError(
            "check_conditional: f ignores its context. Is it passed on to every layer, or is a layer that it enters "
            "initialised to zero? Randomise the parameters first"
        )
    if others.any():
        j = int(np.argmax(others.any(0)))
        named = ", ".join(map(str, np.flatnonzero(others[:, j])[:8]))
        moved = not own.any() and np.all(depends.sum(0) == 1)
        cause = (
            "Each context reaches another example: are they repeated or reordered differently from x?"
            if moved
            else "Is there a mean or a normalisation over the batch, or is only the first context used?"
        )
        raise AssertionError(
            f"check_conditional: the context of example {j} changes the results of other examples: {named}. {cause}"
        )


def _check_classes(f: Function, x: Array, context: Array, near: float) -> None:
    """Raise AssertionError if two of the classes that occur give the same result for every example."""
    classes = np.unique(context, axis=0)
    results = [_result(f, x, np.repeat(c[None], len(x), axis=0)) for c in classes]
    for j, y in enumerate(results):
        for i in range(j):
            if not _changed(y, results[i], near).any():
                raise AssertionError(
                    f"check_conditional: the contexts {classes[i]} and {classes[j]} give the same results; are classes "
                    f"merged, or are the weights of some of them equal?"
                )


def _ignored_entries(f: Function, x: Array, context: Array, y: Array, near: float) -> list[int]:
    """Return the entries of the context vectors that change no result when they alone are exchanged."""
    ignored = []
    for k in range(context[0].size):
        mixed = context.reshape(len(context), -1).copy()
        shifts = [np.roll(mixed[:, k], s) for s in range(1, len(mixed))]
        if not any(np.any(shift != mixed[:, k]) for shift in shifts):
            raise ValueError(f"context: expected entries that vary over the examples, got a constant entry {k}")
        mixed[:, k] = max(shifts, key=lambda shift: np.count_nonzero(shift != mixed[:, k]))
        if not _changed(_result(f, x, mixed.reshape(context.shape)), y, near).any():
            ignored.append(k)
    return ignored


def _different(rows: Array, j: int, rng: np.random.Generator) -> int:
    """Return the index of a random example whose context differs from that of example j."""
    return int(rng.choice(np.flatnonzero(np.any(rows != rows[j], axis=1))))


def _changed(new: Array, old: Array, near: float) -> Array:
    return np.asarray(~np.all(np.isclose(new, old, near, near * min(1.0, float(np.abs(old).max()))), axis=1))


def _result(f: Function, x: Array, context: Array) -> Array:
    """Return the first result of f, (N, values)."""
    first = f.several(x, context)
    y = f.finite(first[0])
    if y.ndim == 0 or len(y) != len(x):
        raise AssertionError(
            f"check_conditional: f(x, context): expected one result per example, shape ({len(x)}, …), got {y.shape}"
        )
    f.require_deterministic(first, x, context)
    return y.reshape(len(y), -1)
