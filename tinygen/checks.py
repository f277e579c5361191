"""What is checked at the library's boundary in more than one place: `name: expected …, got …`, as a ValueError.

Checked by: tests/test_checks.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from .autograd import Array, Tensor, TensorLike
from .autograd.tensor import array_of


def at_least(least: int, **counts: int) -> None:
    """Raise ValueError, naming the count, if one of them is no whole number or below the least that makes sense."""
    for name, count in counts.items():
        if not isinstance(count, int | np.integer):
            raise ValueError(f"{name}: expected a whole number, got {count!r}")
        if count < least:
            raise ValueError(f"{name}: expected at least {least}, got {count}")


def check_odd(least: int, **sizes: int) -> None:
    """Raise ValueError, naming the size, unless each is odd, as that of a window with a middle is, and large enough."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or size < least or size % 2 == 0:
            raise ValueError(f"{name}: expected an odd number of at least {least}, got {size}")


def check_rate(name: str, rate: float) -> None:
    """Raise ValueError unless 0 ≤ rate < 1, as it must be where 1 − rate is what is left."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: expected at least 0 and below 1, got {rate}")


def check_counts(name: str, counts: Sequence[int]) -> None:
    """Raise ValueError unless counts are one or more whole numbers of at least 1."""
    given = counts if isinstance(counts, Sequence) else ()
    if not given or not all(isinstance(n, int | np.integer) and n >= 1 for n in given):
        raise ValueError(f"{name}: expected one or more whole numbers of at least 1, got {counts}")


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless shape is that of an event of several variables, or of one: lengths of at least 1."""
    check_counts("shape", shape)


def check_array(name: str, x: object) -> None:
    """Raise ValueError unless x is a NumPy array, which lists, numbers and tensors are not."""
    if not isinstance(x, np.ndarray):
        raise ValueError(f"{name}: expected a NumPy array, got {type(x).__name__}")


def check_event(name: str, x: TensorLike, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless x is (N, *shape)."""
    if array_of(x).shape[1:] != shape or array_of(x).ndim == 0:
        raise ValueError(f"{name}: expected shape {with_examples(shape)}, got {array_of(x).shape}")


def finite(name: str, x: TensorLike, shape: tuple[int, ...], dtype: DTypeLike) -> TensorLike:
    """Return x, an array in this dtype, or float64 data would take a float32 network with it; a tensor as it is.

    Raises ValueError unless x is (N, *shape) of real numbers that are finite, also in this dtype.
    """
    v = array_of(x)
    if not isinstance(x, Tensor):
        check_array(name, x)
        if v.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected real numbers, got {v.dtype}")
        with np.errstate(over="ignore"):
            x = v = v.astype(dtype, copy=False)
    check_event(name, x, shape)
    if not np.all(np.isfinite(v)):
        raise ValueError(f"{name}: expected finite numbers, got {np.count_nonzero(~np.isfinite(v))} that are not")
    return x


def check_context(context: TensorLike | None, n: int, size: int | None = None) -> None:
    """Raise ValueError unless the context is (n, size), or None where the size is 0.

    Without a size only the number of rows is checked: there may be no context, or a row for each example.
    """
    got = None if context is None else array_of(context).shape
    fits = got == ((n, size) if size else None) if size is not None else got is None or got[:1] == (n,)
    if not fits:
        wanted = "none" if size == 0 else f"shape ({n}, {'C' if size is None else size})"
        if size and got == (n,):
            wanted += f", of labels np.eye({size})[labels]"
        raise ValueError(f"context: expected {wanted}, got {'none' if got is None else got}")


def check_k(k: Array, shape: tuple[int, ...], levels: int) -> None:
    """Raise ValueError unless k is of integers 0…levels−1 and of this shape."""
    check_array("k", k)
    if k.dtype.kind not in "iu" or k.shape != shape or (k.size and not (k.min() >= 0 and k.max() < levels)):
        seen = f", values {k.min()}…{k.max()}" if k.size else ""
        raise ValueError(f"k: expected integers 0…{levels - 1} of shape {shape}, got {k.dtype} of {k.shape}{seen}")


def check_levels(x: Array, shape: tuple[int, ...], levels: int) -> Array:
    """Return x as int64 if it is (N, *shape) of 0…levels−1 or boolean; raise ValueError if it is not."""
    check_array("x", x)
    wanted = f"integers 0…{levels - 1} of shape {with_examples(shape)}"
    if x.dtype.kind not in "iub" or x.shape[1:] != shape:
        raise ValueError(f"x: expected {wanted}, got {x.dtype} of shape {x.shape}")
    if x.size and not (x.min() >= 0 and x.max() < levels):
        raise ValueError(f"x: expected {wanted}, got values {x.min()}…{x.max()}")
    return x.astype(np.int64)


def check_labels(labels: Array | None, n: int, classes: int) -> None:
    """Raise ValueError unless labels are (n,) integers of 0…classes−1, or None where there are no classes."""
    if (labels is None) != (classes == 0):
        raise ValueError(f"labels: expected {'some' if classes else 'none'}, the model has {classes} classes")
    if labels is None:
        return
    check_array("labels", labels)
    wanted = f"integers 0…{classes - 1} of shape ({n},)"
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise ValueError(f"labels: expected {wanted}, got {labels.dtype} of shape {labels.shape}")
    if n and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels: expected {wanted}, got values {labels.min()}…{labels.max()}")


def check_rng(rng: np.random.Generator) -> None:
    """Raise ValueError unless rng is a generator, which a seed is not."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng: expected a np.random.Generator, as np.random.default_rng(seed) makes one, got {rng!r}")


def broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether an array of this shape broadcasts to the other one, which stays as it is."""
    return len(shape) <= len(onto) and all(a in (1, b) for a, b in zip(shape[::-1], onto[::-1], strict=False))


def with_examples(shape: tuple[int, ...]) -> str:
    """Write the shape of N events: (N, 28, 28), of numbers (N,)."""
    return f"({', '.join(['N', *map(str, shape)])}{'' if shape else ','})"
