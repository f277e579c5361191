"""Call the functions that are checked: plain NumPy, PyTorch or JAX code, or operations of tinygen.

A `Function` is called with NumPy arrays. `convert`, such as `torch.from_numpy` or `jnp.asarray`, maps each of them to
what the code takes, and `as_array` maps the results back. Both happen here only, as do the checks that hold for every
function: its signature, the types and dtypes of its results, and that it does not modify its inputs.

Checked by: tests/testing/test_calls.py
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..autograd import Array, Tensor

Convert: TypeAlias = "Callable[[Array], Any] | None"
CONVERT_HINT = "for a function of PyTorch or JAX arrays, pass convert=torch.from_numpy or convert=jnp.asarray"

_figures: ContextVar[list[str] | None] = ContextVar("_figures", default=None)


def as_array(result: Any) -> Array:
    """Return a copy of a result as a NumPy array. Tensors of PyTorch are detached and moved to the CPU.

    Raises: TypeError if the result is not an array of numbers that NumPy can hold.
    """
    if isinstance(result, Tensor):
        return result.value.copy()
    try:
        if hasattr(result, "detach"):  # PyTorch refuses to convert a tensor that requires grad
            array = np.array(result.detach().cpu().resolve_conj().resolve_neg().numpy())
        else:
            array = np.array(result)
    except (TypeError, ValueError):  # a ragged list, or a dtype that NumPy does not have, such as bfloat16
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        dtype = getattr(result, "dtype", None)
        raise TypeError(f"an array of real numbers, got {type(result).__name__}{f' of {dtype}' if dtype else ''}")
    return array


@dataclass(frozen=True)
class Function:
    """A function under test, which `checker` calls by `name` in its messages.

    Args:
        arguments: the names of its arguments, which its signature must accept.

    Raises: TypeError if f is not callable, or not with these arguments.
    """

    checker: str
    name: str
    f: Callable[..., Any]
    arguments: Sequence[str]
    convert: Convert = None

    def __post_init__(self) -> None:
        call = f"{self.name}({', '.join(self.arguments)})"
        if not callable(self.f):
            raise TypeError(f"{self.name}: expected a function that can be called as {call}, got {_kind(self.f)}")
        if not (self.convert is None or callable(self.convert)):
            raise TypeError(f"convert: expected a function such as torch.from_numpy, got {_kind(self.convert)}")
        try:
            signature = inspect.signature(self.f)
        except (TypeError, ValueError):  # some functions written in C have none
            return
        try:
            signature.bind(*self.arguments)
        except TypeError as error:
            raise TypeError(
                f"{self.name}: expected a function that can be called as {call}, got one with the signature "
                f"{signature}: {error}"
            ) from None

    def raw(self, *xs: Any) -> Any:
        """Call f with copies of the arrays among the arguments, and return its result without conversion."""
        xs = tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in xs)  # sums of 0-d arrays are scalars
        copies = [x.copy() if isinstance(x, np.ndarray) else x for x in xs]
        try:
            given = [self.convert(x) if self.convert and isinstance(x, np.ndarray) else x for x in copies]
            result = self.f(*given)
        except Exception as error:
            hint = "" if self.convert else f"; {CONVERT_HINT}"
            error.add_note(f"{self.checker}: raised by {self.name}, which was called with {_described(copies)}{hint}")
            raise
        for argument, x, copy in zip(self.arguments, xs, copies, strict=False):
            if isinstance(x, np.ndarray) and not np.array_equal(x, copy, equal_nan=x.dtype.kind == "f"):
                raise AssertionError(f"{self.checker}: {self.name} modifies its argument {argument} in place")
        return result

    def __call__(self, *xs: Any) -> Array:
        """Return the result as one array."""
        result = self.raw(*xs)
        if isinstance(result, tuple):  # NumPy would stack its parts
            raise TypeError(
                f"{self.checker}: the result of {self.name}: expected one array, got a tuple of {len(result)}; pass a "
                f"function that returns the part to be checked"
            )
        return self.array(result)

    def several(self, *xs: Any) -> tuple[Array, ...]:
        """Return the results as a tuple of arrays; a function that returns one array gives a tuple of length 1."""
        result = self.raw(*xs)
        return tuple(map(self.array, result)) if isinstance(result, tuple | list) else (self.array(result),)

    def array(self, result: Any) -> Array:
        try:
            return as_array(result)
        except TypeError as error:
            raise TypeError(f"{self.checker}: the result of {self.name}: expected {error}") from None

    def finite(self, y: Array, what: str = "", remedy: str = "is its input inside the domain?") -> Array:
        """Return y. Raises AssertionError if it contains NaN or infinity."""
        if bad := y.size - np.count_nonzero(np.isfinite(y)):
            name = f"{what} of {self.name}" if what else f"the result of {self.name}"
            raise AssertionError(
                f"{self.checker}: {name}: expected finite numbers, got {bad} of {y.size} that are NaN or infinite; "
                f"{remedy}"
            )
        return y

    def require_deterministic(self, first: Sequence[Array], *xs: Any) -> None:
        """Raise AssertionError if a second call gives other results than `first`."""
        again = self.several(*xs)
        same = len(first) == len(again)
        if not (same and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))):
            raise AssertionError(
                f"{self.checker}: two calls of {self.name} with the same arguments differ; seed it inside {self.name}, "
                f"or disable its dropout (model.eval() in PyTorch)"
            )


def check_input(name: str, x: Any, least: int = 1, kinds: str = "f") -> Array:
    """Return x after checking that it is an array of at least `least` examples, finite and of a kind among `kinds`."""
    if not isinstance(x, np.ndarray):
        module = type(x).__module__.split(".")[0]
        fix = {
            "torch": "x.detach().numpy() and convert=torch.from_numpy",
            "jaxlib": "np.asarray(x) and convert=jnp.asarray",
        }
        raise TypeError(f"{name}: expected a NumPy array, got {_kind(x)}; pass {fix.get(module, 'np.array(…)')}")
    examples = f"at least {least} example{'s' if least > 1 else ''} along axis 0"
    if x.ndim == 0 or len(x) < least or x.size == 0:
        raise ValueError(f"{name}: expected {examples}, got an array of shape {x.shape}")
    check_numbers(name, x, kinds)
    return x


def check_numbers(name: str, x: Array, kinds: str = "f") -> None:
    """Raise TypeError or ValueError unless x is finite, and float32, float64 or another kind of number in `kinds`."""
    if x.dtype.kind not in kinds or (x.dtype.kind == "f" and x.dtype not in (np.float32, np.float64)):
        others = ", integers or booleans" if "i" in kinds else ""
        raise TypeError(f"{name}: expected float64 or float32{others}, got {x.dtype}; use {name}.astype(np.float64)")
    if bad := x.size - np.count_nonzero(np.isfinite(x)):
        raise ValueError(f"{name}: expected finite numbers, got {bad} of {x.size} that are NaN or infinite")


def check_positive(**values: float | None) -> None:
    """Raise ValueError unless every value is a positive number or None. The keywords are the names in the message."""
    for name, value in values.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value < np.inf):
            raise ValueError(f"{name}: expected a positive number, got {value!r}")


def check_p_value(p_value: float) -> None:
    """Raise ValueError unless 0 < p_value < ½."""
    number = isinstance(p_value, float | np.floating) and 0 < p_value < 0.5
    if not number:
        raise ValueError(f"p_value: expected a number between 0 and 0.5, such as 1e-6, got {p_value!r}")


def resolution(*arrays: Array) -> float:
    """Return the largest machine epsilon ε among the floating-point arrays: that of the precision of the code."""
    return max((float(np.finfo(x.dtype).eps) for x in arrays if x.dtype.kind == "f"), default=2.0**-52)


@contextmanager
def recorded_figures() -> Iterator[list[str]]:
    """Collect what the checks measure in this block, such as errors and their tolerances, as lines of text."""
    figures: list[str] = []
    token = _figures.set(figures)
    try:
        yield figures
    finally:
        _figures.reset(token)


def record(figure: str) -> None:
    """Add a line to the figures of the enclosing `recorded_figures`, if there is one."""
    if (figures := _figures.get()) is not None and figure not in figures:
        figures.append(figure)


def _described(xs: Sequence[Any]) -> str:
    return ", ".join(f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else _kind(x) for x in xs)


def _kind(x: Any) -> str:
    return "None" if x is None else type(x).__name__
