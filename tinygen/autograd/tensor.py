"""The tensor: a value, and edges to the tensors it was computed from, each with a vector-Jacobian product (VJP).

An operation y = f(a, b) computes the value of y immediately. For each parent it records how a cotangent of y (the
derivative of some later scalar with respect to y) becomes a cotangent of that parent:

    y.edges = ((a, lambda g, y: …), (b, lambda g, y: …))        ā = gᵀ ∂y/∂a

VJPs are written in tensor operations, so a derivative can be differentiated again. A VJP receives its output y as an
argument instead of closing over it: a closure would be a reference cycle, which only the garbage collector frees.

A tensor is always created after its parents, so sorting by `order`, a creation counter, is a topological sort: `grad`
(backward.py) needs neither recursion nor a tape.

Checked by: tests/autograd/test_tensor.py
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..arguments import explained
from .grad_mode import mode
from .numpy_calls import COMPARISONS, OPERATORS, call_error

Array: TypeAlias = NDArray[Any]  # of any shape and dtype
VJP: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
Edge: TypeAlias = "tuple[TensorLike | None, VJP]"
Axis: TypeAlias = "int | tuple[int, ...] | None"
F = TypeVar("F", bound=Callable[..., Any])

# Every differentiable operation by name. Tensor's operators look them up here, because the modules that define them
# import this file. The tests iterate over it, so they fail if an operation has no property test.
PRIMITIVES: dict[str, Callable[..., Tensor]] = {}


def primitive(operation: F) -> F:
    """Register a differentiable operation in PRIMITIVES. Defining the same operation again replaces it.

    Raises: ValueError if another operation is registered under this name.
    """
    name, taken = operation.__name__, PRIMITIVES.get(operation.__name__, operation)
    if (taken.__module__, taken.__qualname__) != (operation.__module__, operation.__qualname__):
        raise ValueError(f"primitive: {name!r} is already an operation of {taken.__module__}; choose another name")
    PRIMITIVES[name] = operation = explained(operation)
    return operation


orders = itertools.count()

# Attributes of PyTorch's tensors that this class does not have, and what to use instead.
_HINTS = dict.fromkeys(["backward", "grad", "requires_grad", "zero_grad"], "use grad(output, [x, …])")
_HINTS |= {
    "detach": "use Tensor(x.value)",
    "numpy": "use x.value",
    "sort": "use autograd.sort(x), which is not in place",
}


def _operator(name: str) -> tuple[Callable[[Tensor, TensorLike], Tensor], Callable[[Tensor, TensorLike], Tensor]]:
    """Return the operator of an operation and its reflected version, for a tensor on the right-hand side."""
    return (lambda self, other: PRIMITIVES[name](self, other)), (lambda self, other: PRIMITIVES[name](other, self))


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, TensorLike], Array]:
    return lambda self, other: compare(self.value, value_of(other))


class Tensor:
    """An array that records how it was computed, with NumPy's names, broadcasting, axis arguments and dtype rules.

    Values are never modified in place. Do not modify an array that was used as a constant (a in a * x) while the graph
    exists: it is not copied, and VJPs read it. `==` and `<` compare values and return boolean arrays; a tensor hashes
    by identity.

    Args:
        value: an array, a number or a nested sequence.

    Raises: TypeError if the value is a Tensor or not real.

    Example:
        >>> x = Tensor([1.0, 2.0])
        >>> (x * x).sum()
        Tensor(5., dtype=float64, op=sum)
    """

    __slots__ = ("__weakref__", "edges", "op", "order", "value")
    __array_priority__ = 1000.0

    value: Array
    edges: tuple[tuple[Tensor, VJP], ...]
    op: str
    order: int

    @explained
    def __init__(self, value: TensorLike, dtype: DTypeLike | None = None) -> None:
        if isinstance(value, Tensor):
            raise TypeError("value: expected an array, got a Tensor; pass tensor.value for a constant without edges")
        array = array_of(np.asarray(value))
        if array.dtype.kind not in "fiub":
            raise TypeError(f"value: expected real numbers, got dtype {array.dtype}")
        if dtype is not None and np.dtype(dtype).kind not in "fiub":
            raise TypeError(f"dtype: expected real numbers, got {np.dtype(dtype)}")
        array = array if dtype is None else array.astype(dtype, copy=False)
        self.value, self.edges, self.op, self.order = array, (), "", next(orders)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle leaves by their value: they get a new `order`, below that of later tensors in any process."""
        return super().__reduce_ex__(protocol) if self.edges else (type(self), (self.value, self.dtype))

    def __repr__(self) -> str:
        op = f", op={self.op}" if self.op else ""
        return f"{type(self).__name__}({np.array2string(self.value, prefix='Tensor(')}, dtype={self.dtype}{op})"

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor is not implicitly converted to an array, as that drops its edges; pass tensor.value")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Tensor | Array:
        if method == "__call__" and not options:
            if ufunc in OPERATORS:
                return PRIMITIVES[ufunc.__name__](*inputs)
            if ufunc in COMPARISONS:
                return ufunc(*map(value_of, inputs))  # type: ignore[no-any-return]
        raise call_error(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}")

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in (np.shape, np.ndim, np.size):
            return function(*map(value_of, args), **kwargs)
        raise call_error(f"{function.__module__}.{function.__name__}".removeprefix("numpy."))

    if not TYPE_CHECKING:  # hidden from type checkers, which would otherwise accept any attribute

        def __getattr__(self, name: str) -> Any:
            hint = f"; {_HINTS[name]}" if name in _HINTS else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    @property
    def T(self) -> Tensor:
        return PRIMITIVES["transpose"](self)

    def item(self) -> float:
        return self.value.item()  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __round__(self, digits: int | None = None) -> float:
        return round(self.item(), digits)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.ndim else super().__format__(spec)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__
    __eq__ = _comparison(operator.eq)  # type: ignore[assignment]
    __ne__ = _comparison(operator.ne)  # type: ignore[assignment]
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __truediv__, __rtruediv__ = _operator("divide")
    __pow__, __rpow__ = _operator("power")
    __matmul__, __rmatmul__ = _operator("matmul")

    def __neg__(self) -> Tensor:
        return PRIMITIVES["negative"](self)

    def __abs__(self) -> Tensor:
        return PRIMITIVES["abs"](self)

    def __getitem__(self, key: Any) -> Tensor:
        return PRIMITIVES["index"](self, key)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["sum"](self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["mean"](self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["prod"](self, axis, keepdims)

    def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["var"](self, axis, ddof, keepdims)

    def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["std"](self, axis, ddof, keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        return PRIMITIVES["cumsum"](self, axis)

    def cumprod(self, axis: int | None = None) -> Tensor:
        return PRIMITIVES["cumprod"](self, axis)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["max"](self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["min"](self, axis, keepdims)

    def astype(self, dtype: DTypeLike) -> Tensor:
        return PRIMITIVES["astype"](self, dtype)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        return PRIMITIVES["reshape"](self, _one_or_several(shape))

    def squeeze(self, axis: Axis = None) -> Tensor:
        return PRIMITIVES["squeeze"](self, axis)

    def repeat(self, repeats: int | Sequence[int] | Array, axis: int | None = None) -> Tensor:
        return PRIMITIVES["repeat"](self, repeats, axis)

    def transpose(self, *axes: int | Sequence[int] | None) -> Tensor:
        return PRIMITIVES["transpose"](self, _one_or_several(axes) if axes else None)


def _one_or_several(arguments: tuple[Any, ...]) -> Any:
    """Accept both f(2, 3) and f((2, 3)), as NumPy does."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int | np.integer) else arguments


TensorLike: TypeAlias = Tensor | Array | np.generic | float | Sequence[Any]  # what operations take


def value_of(x: Any) -> Any:
    """Return the array of a tensor, or any other object unchanged (a Python number stays weakly typed, NEP 50)."""
    return x.value if isinstance(x, Tensor) else x


def array_of(x: Any) -> Array:
    """Return the array of a tensor, or np.asarray of any other object, in native byte order."""
    if isinstance(x, Tensor):
        return x.value
    array = np.asarray(x)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def node(op: str, value: Any, *edges: Edge) -> Tensor:
    """Create the tensor that an operation returns.

    Args:
        op: name of the operation.
        edges: per parent, the parent and its VJP (cotangent, output) → cotangent of the parent. Parents that are not
            tensors are constants and get no edge; under `no_grad` no edge is recorded.

    Example:
        >>> def cube(x):  # to register it in PRIMITIVES, decorate it with @primitive
        ...     return node("cube", value_of(x) ** 3, (x, lambda g, y: 3 * g * x * x))
        >>> cube(Tensor(2.0))
        Tensor(8., dtype=float64, op=cube)
    """
    tensor = Tensor.__new__(Tensor)
    tensor.value = value = value if type(value) is np.ndarray else np.asarray(value)
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{op}: expected real numbers, got {value.dtype}")
    tensor.op = op
    tensor.edges = tuple([edge for edge in edges if isinstance(edge[0], Tensor)]) if mode.grad_enabled else ()  # type: ignore[misc]
    tensor.order = next(orders)
    return tensor
