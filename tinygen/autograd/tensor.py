"""The engine: a tensor is a value and the edges to its parents; every edge carries a vector-Jacobian product.

An operation y = f(a, b) computes y's value at once and notes, for each parent, how a cotangent of y (the derivative of
some later scalar with respect to y) becomes a cotangent of that parent:

    y.edges = ((a, lambda g, y: …), (b, lambda g, y: …))        ā = gᵀ ∂y/∂a

The rules are themselves written in tensor operations, so a derivative can be differentiated again. A rule is handed its
own output y rather than closing over it: a closure over y would be a reference cycle, and memory would wait for the
garbage collector.

A tensor is always made after its parents. Its `birth` number is therefore a topological order of every graph it is in,
and `grad` needs neither recursion nor a tape: it walks the nodes from the youngest to the oldest.

An operation of your own is written like those here, with its rule in tensor operations:

    @primitive
    def erf(x):
        return node("erf", scipy.special.erf(value_of(x)), (x, lambda g, y: g * 2 / math.sqrt(math.pi) * exp(-x * x)))
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
VJP: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
Edge: TypeAlias = "tuple[TensorLike, VJP]"
TensorLike: TypeAlias = "Tensor | Array | np.generic | float | Sequence[Any]"
F = TypeVar("F", bound=Callable[..., Any])

# Every differentiable operation by its name. Operators below find theirs here, since this file knows of no operation;
# the tests walk it, so an operation without a property test is a failing test.
PRIMITIVES: dict[str, Callable[..., Tensor]] = {}


def primitive(operation: F) -> F:
    """Enter an operation that makes its own nodes into the list of those that a test must check.

    Raises ValueError if another one has its name; running the same definition again is fine.
    Checked by: tests/autograd/test_tensor.py
    """
    name, taken = operation.__name__, PRIMITIVES.get(operation.__name__, operation)
    if (taken.__module__, taken.__qualname__) != (operation.__module__, operation.__qualname__):
        raise ValueError(f"primitive: {name!r} is an operation of {taken.__module__} already; choose another name")
    PRIMITIVES[name] = operation
    return operation


@dataclass(frozen=True)
class AtKey:
    """A rule whose result is 0 but for y's cotangent at parent[key]: a thousand of them can fill a single array.

    Where the parent already has an adjoint to add to, `grad` adds at the key, and does not run the rule.
    """

    key: Any  # names each place once
    rule: VJP

    def __call__(self, g: Tensor, y: Tensor) -> Tensor:
        return self.rule(g, y)


@dataclass(frozen=True, eq=False)
class Onto:
    """A rule that starts its sums from the adjoint its parent already has, if any: nothing is left to add to it."""

    rule: Callable[[Tensor, Tensor, TensorLike], Tensor]  # (g, y, residual) ↦ residual + the parent's cotangent

    def __call__(self, g: Tensor, y: Tensor) -> Tensor:
        return self.rule(g, y, 0.0)


class _Mode(threading.local):
    taping = True


_mode = _Mode()
_births = itertools.count()


def taping() -> bool:
    """Whether operations keep edges in this thread just now."""
    return _mode.taping


@contextmanager
def set_taping(on: bool) -> Iterator[None]:
    """Keep edges, or keep none, inside a `with` block of this thread."""
    previous, _mode.taping = _mode.taping, on
    try:
        yield
    finally:
        _mode.taping = previous


def no_grad() -> Any:
    """Keep no edges inside a `with` block, so that nothing is remembered for a derivative.

    Holds for the current thread. Also a decorator: `@no_grad()`.
    Checked by: tests/autograd/test_tensor.py
    """
    return set_taping(False)


# What is called otherwise here: the error for an attribute that is not there says how.
_ELSEWHERE = dict.fromkeys(["backward", "grad", "requires_grad", "zero_grad"], "derivatives are grad(output, [x, …])")
_ELSEWHERE |= {"detach": "a constant without edges is Tensor(x.value)", "numpy": "the array is x.value"}


def _operator(name: str) -> tuple[Callable[[Tensor, TensorLike], Tensor], Callable[[Tensor, TensorLike], Tensor]]:
    """Make an operator of an operation, and the one that Python asks when the tensor stands on the right."""
    return (lambda self, other: PRIMITIVES[name](self, other)), (lambda self, other: PRIMITIVES[name](other, self))


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, TensorLike], Array]:
    return lambda self, other: compare(self.value, value_of(other))


class Tensor:
    """An array that remembers how it was computed. Follows NumPy: names, broadcasting, axis and keepdims, dtype rules.

    Values are never changed in place; nor may you change an array that was given as a constant (a in a * x) while the
    graph lives: it is not copied, and the rules read it. `==` and `<` compare values and give plain boolean arrays; a
    tensor hashes by identity. Raises TypeError if the value is not real-numbered.

    Checked by: tests/autograd/test_tensor.py
    """

    __slots__ = ("__weakref__", "birth", "edges", "op", "value")
    __array_priority__ = 1000.0
    __array_ufunc__ = None  # `array * tensor` becomes tensor.__rmul__(array)

    value: Array
    edges: tuple[tuple[Tensor, VJP], ...]
    op: str
    birth: int

    def __init__(self, value: Any, dtype: DTypeLike | None = None) -> None:
        if isinstance(value, Tensor):
            raise TypeError("Tensor: the value is a Tensor already; pass tensor.value for a constant without edges")
        array = np.asarray(value, dtype)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: a value of dtype {array.dtype} is not real-numbered")
        self.value, self.edges, self.op, self.birth = array, (), "", next(_births)

    def __repr__(self) -> str:
        made = f", op={self.op}" if self.op else ""
        return f"{type(self).__name__}({np.array2string(self.value, prefix='Tensor(')}, dtype={self.dtype}{made})"

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor does not silently become an array, its edges would be lost: pass tensor.value")

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in (np.shape, np.ndim, np.size):
            return function(*map(value_of, args), **kwargs)
        raise TypeError(f"np.{function.__name__} of a Tensor: use tinygen.autograd (ag.sum for np.sum) or tensor.value")

    if not TYPE_CHECKING:  # to a type checker these attributes are simply not there

        def __getattr__(self, name: str) -> Any:
            hint = f"; {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
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

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["sum"](self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["mean"](self, axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["max"](self, axis, keepdims)

    def min(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return PRIMITIVES["min"](self, axis, keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        return PRIMITIVES["reshape"](self, _one_or_several(shape))

    def transpose(self, *axes: int | Sequence[int] | None) -> Tensor:
        return PRIMITIVES["transpose"](self, _one_or_several(axes) or None)

    def astype(self, dtype: DTypeLike) -> Tensor:
        return PRIMITIVES["astype"](self, dtype)


class Parameter(Tensor):
    """A tensor that is learned: an optimiser gives it new values, and a module finds it by its type.

    It has a copy of the array it is made from. `assign` gives it a new value and makes it younger than the graphs that
    were built from its old one, by which `grad` knows that they are out of date; setting `value` is an AttributeError.

    Checked by: tests/autograd/test_tensor.py
    """

    __slots__ = ("made",)

    made: int  # the first birth: whatever depends on the parameter is younger than that, under any of its values

    def __init__(self, value: Any, dtype: DTypeLike = np.float32) -> None:
        super().__init__(value if isinstance(value, Tensor) else np.array(value), dtype)
        self.made = self.birth

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "value" and hasattr(self, "value"):  # the first value comes from __init__, or from a copy or pickle
            raise AttributeError(
                "Parameter: its value is not set, graphs that use it would not notice; use p.assign(…)"
            )
        super().__setattr__(name, value)

    def assign(self, value: TensorLike, dtype: DTypeLike | None = None) -> None:
        """Replace the value (not in place: who holds the old array keeps it). Without a dtype, the dtype stays.

        Raises ValueError if the new value has another shape.
        """
        array = array_of(value)
        if array.shape != self.shape:
            raise ValueError(f"assign: a parameter of shape {self.shape} was given a value of shape {array.shape}")
        object.__setattr__(self, "value", np.asarray(array, self.dtype if dtype is None else dtype))
        self.birth = next(_births)


def _one_or_several(arguments: tuple[Any, ...]) -> Any:
    """Read f(2, 3) and f((2, 3)) alike, as NumPy does."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int | np.integer) else arguments


def value_of(x: Any) -> Any:
    """Return the array of a tensor; anything else as it is (a Python number stays weakly typed, NEP 50)."""
    return x.value if isinstance(x, Tensor) else x


def array_of(x: Any) -> Array:
    """Return the array of a tensor; a number or a list as an array."""
    return x.value if isinstance(x, Tensor) else np.asarray(x)


def attempt(op: str, function: Callable[..., Any], operands: Sequence[TensorLike], *options: Any) -> Any:
    """Apply a NumPy function to values; where it refuses, the error names the operation, the shapes and the options."""
    values = [value_of(operand) for operand in operands]
    try:
        return function(*values, *options)
    except (ValueError, IndexError) as error:
        shapes = " and ".join(str(np.shape(value)) for value in values)
        given = f" with {', '.join(map(repr, options))}" if options else ""
        raise type(error)(f"{op}: shape{'s' * (len(values) > 1)} {shapes}{given}: {error}") from error


def node(op: str, value: Any, *edges: Edge) -> Tensor:
    """Make the tensor that an operation returns; parents that are not tensors are constants and get no edge.

    An edge is a parent and its rule (cotangent, output) → the parent's cotangent; in `no_grad` none is kept.
    Checked by: tests/autograd/test_tensor.py
    """
    tensor = Tensor.__new__(Tensor)
    tensor.value = value if type(value) is np.ndarray else np.asarray(value)
    tensor.op = op
    tensor.edges = tuple([edge for edge in edges if isinstance(edge[0], Tensor)]) if _mode.taping else ()  # type: ignore[misc]
    tensor.birth = next(_births)
    return tensor


def grad(
    output: Tensor,
    inputs: Iterable[Tensor],
    cotangent: TensorLike | None = None,
    create_graph: bool = False,
    allow_unreached: bool = False,
) -> list[Tensor]:
    """Reverse-mode derivative: pull a cotangent of the output back to each of the inputs.

        x̄ᵢ = gᵀ ∂output/∂xᵢ

    Only nodes that lie on a way from an input to the output are visited. Nothing is consumed: a second call gives the
    same answer. With `create_graph` the derivative keeps edges and can be differentiated again.

    Shapes: cotangent like output (it may be left out if output has one element: then it is 1); results like inputs.
    Raises ValueError if the output is not a scalar and no cotangent is given, if shapes differ, or if an input does
    not reach the output (with `allow_unreached` it gets zeros), or if there are none; RuntimeError if a parameter that
    a node on the way was computed from was given a new value since; TypeError if an input is not a floating tensor.
    Source: Griewank & Walther, "Evaluating Derivatives", 2008, chapter 3.
    Checked by: tests/autograd/test_tensor.py and, for every operation, tests/autograd/test_primitives.py
    """
    inputs, seed = listed(inputs), _seed(output, cotangent)
    return _backward(_path(output, inputs), seed, inputs, create_graph, allow_unreached)


def value_and_release(
    output: list[Tensor], inputs: Iterable[Tensor], allow_unreached: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Value and derivative of a scalar whose graph nobody else needs: `output` is emptied, the graph freed on the way.

    The list is the hand-over: the caller keeps no reference, so each activation is released as soon as the backward
    pass has left it.
    """
    inputs, seed = listed(inputs), _seed(output[0], None)
    value = Tensor(output[0].value)
    path = _path(output.pop(), inputs)
    return value, _backward(path, seed, inputs, False, allow_unreached)


def listed(inputs: Iterable[Tensor]) -> list[Tensor]:
    """Read inputs, which may come from a generator, and check that derivatives can be taken by them."""
    if isinstance(inputs, Tensor):
        raise TypeError("grad: inputs is a single Tensor; pass a sequence, grad(output, [x])")
    inputs = list(inputs)
    if not inputs:
        raise ValueError("grad: inputs is empty, there is nothing to take a derivative by")
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or x.dtype.kind != "f":
            kind = f"Tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"grad: inputs[{i}] is a {kind}; derivatives are taken by floating-point Tensors")
    return inputs


def _seed(output: Tensor, cotangent: TensorLike | None) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"grad: output is a {type(output).__name__}, not a Tensor: it was not computed by tinygen")
    if output.dtype.kind != "f":
        raise TypeError(f"grad: an output of dtype {output.dtype} has no derivative; compute it in floating point")
    if cotangent is None:
        if output.size != 1:
            raise ValueError(
                f"grad: the output has shape {output.shape}, not one element; "
                f"reduce it (output.sum()) or pass cotangent=… of that shape"
            )
        return Tensor(np.ones(output.shape, output.dtype))
    seed = cotangent if isinstance(cotangent, Tensor) else Tensor(np.asarray(cotangent, output.dtype))
    if seed.shape != output.shape:
        raise ValueError(f"grad: the cotangent has shape {seed.shape}, the output {output.shape}; they must be equal")
    return _like(seed, output)


def _path(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """List the nodes on the ways from `inputs` to `output`, oldest first; empty if no input reaches the output."""
    # What is older than the oldest input cannot depend on any of them, and is not looked at.
    oldest = min((x.made if isinstance(x, Parameter) else x.birth for x in inputs), default=output.birth)
    found, todo = {id(output): output}, [output]
    while todo:
        for parent, _ in todo.pop().edges:
            if parent.birth >= oldest and id(parent) not in found:
                found[id(parent)] = parent
                todo.append(parent)
    reached = {id(x) for x in inputs}
    path = []
    for tensor in sorted(found.values(), key=lambda tensor: tensor.birth):
        if id(tensor) in reached or any(id(parent) in reached for parent, _ in tensor.edges):
            _check_fresh(tensor)
            reached.add(id(tensor))
            path.append(tensor)
    return path if id(output) in reached else []


def _check_fresh(tensor: Tensor) -> None:
    """Refuse a node on the way of which a parent, on the way or not, has a new value: the node's rules may read it."""
    for parent, _ in tensor.edges:
        if parent.birth > tensor.birth:
            raise RuntimeError(
                f"grad: a parameter of shape {parent.shape} was given a new value after '{tensor.op}' had used it; "
                f"compute the output again"
            )


def _backward(
    path: list[Tensor], seed: Tensor, inputs: Sequence[Tensor], create_graph: bool, allow_unreached: bool
) -> list[Tensor]:
    """Run the VJPs from the youngest node to the oldest, emptying `path`, and return the adjoints of the inputs."""
    wanted = {id(x) for x in inputs}
    on_path = {id(tensor) for tensor in path}
    adjoints = {id(path[-1]): seed} if path else {}
    sums: set[int] = set()  # adjoints whose array was made here by adding, and may therefore be added to in place
    with set_taping(create_graph):
        while path:
            tensor = path.pop()
            key = id(tensor)
            adjoint = adjoints[key] if key in wanted else adjoints.pop(key)
            for parent, vjp in tensor.edges:
                key = id(parent)
                if key not in on_path:
                    continue
                if key in sums and isinstance(vjp, AtKey):
                    adjoints[key].value[vjp.key] += adjoint.value
                    continue
                contribution: Any = adjoint  # a Tensor, unless the rule returns something else
                onto = vjp if isinstance(vjp, Onto) and key in adjoints else None
                try:
                    contribution = onto.rule(adjoint, tensor, adjoints[key]) if onto else vjp(adjoint, tensor)
                    contribution = _like(contribution, parent)
                except Exception as error:
                    rule = f"the rule of {tensor.op!r} for parent {[rule for _, rule in tensor.edges].index(vjp)}"
                    if isinstance(contribution, Tensor):
                        error.add_note(f"in {rule}")
                        raise
                    kind = type(contribution).__name__
                    raise TypeError(f"{rule} returned {kind}; write it in tensor operations") from error
                if onto or key not in adjoints:
                    adjoints[key] = contribution
                elif key in sums:
                    adjoints[key].value += contribution.value
                else:
                    adjoints[key] = adjoints[key] + contribution
                    if not create_graph:
                        sums.add(key)
            del adjoint, tensor
    return _collect(adjoints, seed, inputs, create_graph, allow_unreached)


def _like(cotangent: Tensor, parent: Tensor) -> Tensor:
    """Undo what broadcasting and type promotion did to a parent. This is the only place where either is undone."""
    if cotangent.value.shape != parent.value.shape:
        cotangent = PRIMITIVES["sum_to"](cotangent, parent.value.shape)
    if cotangent.value.dtype != parent.value.dtype:
        cotangent = PRIMITIVES["astype"](cotangent, parent.value.dtype)
    return cotangent


def _collect(
    adjoints: dict[int, Tensor], seed: Tensor, inputs: Sequence[Tensor], create_graph: bool, allow_unreached: bool
) -> list[Tensor]:
    results, owners = [], {id(seed.value)}
    for i, x in enumerate(inputs):
        adjoint = adjoints.get(id(x))
        if adjoint is None:
            if not allow_unreached:
                raise ValueError(
                    f"grad: inputs[{i}] of shape {x.shape} does not reach the output (was it used, and outside "
                    f"no_grad?); pass allow_unreached=True to get zeros"
                )
            adjoint = Tensor(np.zeros_like(x.value))
        elif not create_graph:
            # A rule may hand its cotangent on as it is or as a view; what leaves here shares memory with nothing.
            if id(adjoint.value) in owners or adjoint.value.base is not None:
                adjoint = Tensor(adjoint.value.copy())
            owners.add(id(adjoint.value))
        results.append(adjoint)
    return results
