"""Operands: calls of NumPy with named errors, dtypes, axes, and arguments that have no derivative.

Checked by: tests/autograd/test_operands.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .taps.windows import as_int
from .tensor import Array, Axis, Tensor, TensorLike, array_of, value_of


def apply_numpy(
    function: Callable[..., Any], operands: Sequence[TensorLike | None], *options: Any, op: str = ""
) -> Any:
    """Call function(*values of the operands, *options); add the operation's name and the shapes to its errors.

    The name is `op`, by default that of the function.
    """
    values = [value_of(operand) for operand in operands]
    try:
        return function(*values, *options)
    except (ValueError, IndexError, TypeError) as error:
        wrong_type = isinstance(error, TypeError)
        of = [getattr(v, "dtype", type(v).__name__) if wrong_type else np.shape(v) for v in values]
        got = ("dtype" if wrong_type else "shape") + ("s " if len(of) > 1 else " ") + " and ".join(map(str, of))
        got += f" with {', '.join(map(repr, options))}" if options else ""
        kind = TypeError if wrong_type else type(error)  # NumPy's subclass of TypeError takes other arguments
        raise kind(f"{op or function.__name__}: got {got}: {error}") from error


def real(op: str, x: TensorLike) -> Array:
    """Return the value of x. Raises TypeError if it is not real."""
    v = array_of(x)
    if v.dtype.kind not in "fiub":
        raise TypeError(f"{op}: expected real numbers, got dtype {v.dtype}")
    return v


def floating(op: str, x: TensorLike) -> Array:
    """Return the value of x in floating point: integers and booleans become float64, as in np.mean and np.divide.

    In a small integer dtype −x, x² and 1 − x overflow silently, and NumPy's exp of uint8 is float16.

    Raises: TypeError if x is not real.
    """
    v = real(op, x)
    return v if v.dtype.kind == "f" else v.astype(np.float64)


def kernel_dtype(op: str, x: TensorLike) -> Array:
    """Return the value of x in float32 or float64, for a kernel: float16 becomes float32.

    Raises: TypeError if x is not real, or has a greater precision.
    """
    v = floating(op, x)
    if v.dtype.itemsize > 8:
        raise TypeError(f"{op}: expected float64 or less, got {v.dtype}; convert with x.astype(np.float64)")
    return v.astype(np.result_type(v, np.float32), copy=False)


def check_constant(op: str, **arguments: object) -> None:
    """Raise TypeError if an argument without a derivative is a Tensor, whose derivative would be lost."""
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            raise TypeError(f"{op}: {name}: expected a constant, got a Tensor; it has no derivative, use its .value")


def as_integers(op: str, name: str, values: Any) -> tuple[int, ...]:
    """Return an integer or a sequence of integers as a tuple."""
    is_sequence = isinstance(values, (list, tuple, range)) or (isinstance(values, np.ndarray) and values.ndim)
    sequence = values if is_sequence else (values,)
    try:
        return tuple(map(index, sequence))
    except TypeError:
        return tuple([as_int(op, name, value) for value in sequence])  # raises the error that names the argument


def as_axes(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes of a reduction as numbers in 0 … ndim − 1; None stands for all."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    return normalize_axis_tuple(as_integers(op, "axis", axis), ndim, f"{op}: axis")
