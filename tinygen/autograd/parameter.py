"""A parameter: the tensor that an optimiser updates.

Checked by: tests/autograd/test_parameter.py
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..arguments import explained
from .tensor import Array, Tensor, TensorLike, array_of, orders


class Parameter(Tensor):
    """A trainable tensor: optimisers assign new values to it, and modules find their parameters by this type.

    The initial array is copied. `assign` replaces the value and increases `order`, so that `grad` rejects graphs that
    were built from an earlier value.

    Raises: TypeError unless the numbers are real; ValueError if finite ones overflow in the dtype; AttributeError if
        `value` is set directly.

    Example:
        >>> w = Parameter([1.0, 2.0])
        >>> w.assign([3.0, 4.0])
        >>> w.value
        array([3., 4.], dtype=float32)
    """

    __slots__ = ("first_order",)

    first_order: int  # every tensor computed from any of the parameter's values has a greater order

    @explained
    def __init__(self, value: TensorLike, dtype: DTypeLike = np.float32) -> None:
        super().__init__(value if isinstance(value, Tensor) else cast("value", array_of(value), dtype), dtype)
        self.first_order = self.order

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "value" and hasattr(self, "value"):  # the first value is set by __init__, by copy or by pickle
            raise AttributeError(
                "Parameter: value cannot be set, as graphs would not detect the change; use p.assign(…), or after "
                "p.value += …, which has already changed the array, p.assign(p.value)"
            )
        super().__setattr__(name, value)

    @explained
    def assign(self, value: TensorLike, dtype: DTypeLike | None = None) -> None:
        """Replace the value with a copy of an array; the dtype is kept unless one is given.

        Raises: ValueError if the new value has another shape, or finite numbers that overflow in this dtype; TypeError
            unless they are real.
        """
        array = array_of(value)
        if array.shape != self.shape:
            raise ValueError(f"value: expected shape {self.shape}, got {array.shape}")
        adopt(self, cast("value", array, self.dtype if dtype is None else dtype))


def adopt(parameter: Parameter, array: Array) -> None:
    """Replace the value with an array of the same shape, without a copy. Do not modify the array afterwards."""
    object.__setattr__(parameter, "value", array)
    object.__setattr__(parameter, "order", next(orders))


def cast(name: str, array: Array, dtype: DTypeLike) -> Array:
    """Return a C-contiguous copy in this dtype.

    Raises: TypeError unless the numbers are real, ValueError if a finite one overflows.
    """
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    try:
        with np.errstate(over="raise"):
            copy = np.array(array, dtype, order="C")
    except FloatingPointError:
        largest = np.max(np.abs(array), where=np.isfinite(array), initial=0)
        raise ValueError(f"{name}: expected numbers in the range of {np.dtype(dtype)}, got {largest:.3g}") from None
    if copy.dtype.kind in "iu" and not np.array_equal(copy, array):
        raise ValueError(f"{name}: expected numbers in the range of {copy.dtype}, got {array.min()} to {array.max()}")
    return copy
