"""Shared argument checks. They raise ValueError with a message of the form "name: expected …, got …".

Checked by: tests/test_checks.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .autograd import Array, Tensor, TensorLike
from .autograd.tensor import array_of

_NUMBER = float | int | np.floating | np.integer


def require(holds: bool | np.bool_, name: str, expected: object, got: object) -> None:
    """Raise ValueError unless `holds` is true. The message's parts are evaluated at every call, so keep them cheap."""
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {got}")


def at_least(least: int, **counts: int) -> None:
    """Raise ValueError unless every count is an integer ≥ `least`. The message uses the keywords as names."""
    for name, count in counts.items():
        integer = isinstance(count, int | np.integer) and not isinstance(count, bool)
        require(integer, name, "an integer", repr(count))
        require(least <= count < 2**31, name, f"at least {least}" if count < least else "below 2³¹", count)


def check_odd(least: int, **sizes: int) -> None:
    """Raise ValueError unless every size is an odd integer ≥ `least`."""
    for name, size in sizes.items():
        odd = isinstance(size, int | np.integer) and size % 2 == 1
        require(odd and size >= least, name, f"an odd integer of at least {least}", size)


def check_positive(**values: float) -> None:
    """Raise ValueError unless every value is a finite number above 0. The keywords are the names in the message."""
    for name, value in values.items():
        positive = isinstance(value, _NUMBER) and 0 < value < math.inf
        require(positive, name, "a positive number", repr(value))


def check_nonnegative(**values: float) -> None:
    """Raise ValueError unless every value is a finite number ≥ 0. The keywords are the names in the message."""
    for name, value in values.items():
        nonnegative = isinstance(value, _NUMBER) and 0 <= value < math.inf
        require(nonnegative, name, "a finite number of at least 0", repr(value))


def as_number(x: float | Tensor) -> float | Tensor:
    """Return a number as a Python float, which does not promote arrays of float32; a Tensor unchanged."""
    return x if isinstance(x, Tensor) else float(x)


def check_rate(name: str, rate: float, below: float = 1) -> None:
    """Raise ValueError unless 0 ≤ rate < below."""
    fits = isinstance(rate, _NUMBER) and 0 <= rate < below
    require(fits, name, f"at least 0 and below {below:g}", rate)


def check_counts(name: str, counts: Sequence[int], least: int = 1) -> None:
    """Raise ValueError unless `counts` is a sequence of `least` or more integers ≥ 1, such as the shape of an event."""
    given = counts if isinstance(counts, Sequence) else ()
    positive = [isinstance(n, int | np.integer) and n >= 1 for n in given]
    fits = isinstance(counts, Sequence) and len(positive) >= least and all(positive)
    require(fits, name, "one or more integers of at least 1" if least else "integers of at least 1", counts)


def check_array(name: str, x: object) -> None:
    """Raise ValueError unless x is a NumPy array."""
    require(isinstance(x, np.ndarray), name, "a NumPy array", type(x).__name__)


def check_event(name: str, x: TensorLike, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless x has shape (N, *shape)."""
    got = array_of(x).shape
    require(got[1:] == shape and got != (), name, f"shape {batch_shape(shape)}", got)


def as_finite(name: str, x: TensorLike, shape: tuple[int, ...], dtype: DTypeLike) -> TensorLike:
    """Return x converted to `dtype`, so that float64 data does not promote a float32 network; a Tensor is unchanged.

    Raises ValueError unless x has shape (N, *shape) and real values that are finite after the conversion.
    """
    v = given = array_of(x)
    if not isinstance(x, Tensor):
        check_array(name, x)
        require(v.dtype.kind in "fiub", name, "real numbers", v.dtype)
        with np.errstate(over="ignore"):
            x = v = v.astype(dtype, copy=False)
    check_event(name, x, shape)
    small = given.dtype.kind != "f" and np.can_cast(given.dtype, v.dtype)  # such as pixels of uint8
    bad = 0 if small else v.size - np.count_nonzero(np.isfinite(v))
    require(bad == 0, name, "finite numbers", f"{bad} that are NaN or infinite")
    return x


def as_reals(name: str, x: ArrayLike) -> NDArray[np.float64]:
    """Return x as float64. Raises ValueError for complex numbers and text, which NumPy would convert."""
    v = np.asarray(x)
    require(v.dtype.kind in "fiub", name, "real numbers", v.dtype)
    return v.astype(np.float64, copy=False)


def as_returned_number(name: str, value: object) -> float:
    """Return the result of a user's function as a float. Raises ValueError unless it is a real number."""
    v = array_of(value)
    got = f"one that returned {value!r}"
    require(v.shape == () and v.dtype.kind in "fiub", name, "a function that returns a number", got)
    return float(v)


def check_context(context: TensorLike | None, n: int, size: int | None = None) -> None:
    """Raise ValueError unless the context has shape (n, size), or is None if size is 0.

    If size is None, None and any array with n rows are valid.
    """
    got = None if context is None else array_of(context).shape
    if size is None:
        require(got is None or got[:1] == (n,), "context", f"shape ({n}, C)", got)
        return
    hint = f", such as np.eye({size})[labels]" if size and got == (n,) else ""
    wanted = f"shape ({n}, {size}){hint}" if size else "none"
    require(got == ((n, size) if size else None), "context", wanted, "none" if got is None else got)


def check_integers(name: str, x: Array, shape: tuple[int, ...], levels: int) -> None:
    """Raise ValueError unless x is an integer array of this shape with values in 0 … levels − 1."""
    check_array(name, x)
    fits = x.dtype.kind in "iu" and x.shape == shape
    if not fits or (x.size and not (x.min() >= 0 and x.max() < levels)):
        got = f"values {x.min()}…{x.max()}" if fits else f"{x.dtype} of shape {x.shape}"
        raise ValueError(f"{name}: expected integers 0…{levels - 1} of shape {shape}, got {got}")


def as_integers(name: str, x: Array, shape: tuple[int, ...], levels: int) -> Array:
    """Return x with booleans as 0 and 1. Raises ValueError unless x has this shape and values 0 … levels − 1."""
    check_array(name, x)
    x = x.view(np.uint8) if x.dtype == bool else x
    check_integers(name, x, shape, levels)
    return x


def as_levels(x: Array, shape: tuple[int, ...], levels: int) -> Array:
    """Return x as int64. Raises ValueError unless x is (N, *shape) booleans or integers 0 … levels − 1."""
    check_array("x", x)
    return as_integers("x", x, (*x.shape[:1], *shape), levels).astype(np.int64, copy=False)


def check_labels(labels: Array | None, n: int, classes: int) -> None:
    """Raise ValueError unless labels is (n,) integers 0 … classes − 1, or None if there are no classes."""
    if labels is not None and classes:
        check_integers("labels", labels, (n,), classes)
    elif labels is not None or classes:
        wanted, got = (f"integers 0…{classes - 1}", "none") if classes else ("none for a model without classes", "some")
        raise ValueError(f"labels: expected {wanted}, got {got}")


def check_file(name: str, path: str | Path, *suffixes: str) -> None:
    """Raise ValueError unless path can be that of a file: its folder exists, and it has one of the suffixes, if any."""
    fits = Path(path).parent.is_dir() and not Path(path).is_dir()
    fits = fits and (not suffixes or Path(path).suffix.lower() in suffixes)
    require(fits, name, f"a {' or '.join(suffixes)}{' ' * bool(suffixes)}file in a folder that exists", path)


def check_rng(rng: np.random.Generator) -> None:
    """Raise ValueError unless rng is a numpy.random.Generator (a seed is not accepted)."""
    wanted = "a np.random.Generator, such as np.random.default_rng(seed)"
    require(isinstance(rng, np.random.Generator), "rng", wanted, repr(rng))


def broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Return whether an array of this shape broadcasts to the shape `onto`."""
    return len(shape) <= len(onto) and all(a in (1, b) for a, b in zip(shape[::-1], onto[::-1], strict=False))


def batch_shape(shape: tuple[int, ...]) -> str:
    """Format the shape (N, *shape) of a batch, such as "(N, 28, 28)", or "(N,)" for scalars."""
    return f"({', '.join(['N', *map(str, shape)])}{'' if shape else ','})"
