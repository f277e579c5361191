"""Check the gradients of a function or a loss against finite differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, grad
from ..autograd.parameter import adopt
from ..autograd.tensor import PRIMITIVES, array_of
from ..checks import at_least, check_rng
from .calls import Function, check_positive
from .finite_differences import Problem, compare

TensorFunction = Callable[..., list[Tensor]]
ALTERNATIVE = "for functions of NumPy, PyTorch or JAX arrays, use check_vjp, check_jvp or check_gradient"


def check_grads(
    f: Callable[..., Tensor],
    *xs: TensorLike,
    order: int = 2,
    rng: np.random.Generator,
    tolerance: float = 1e-8,
    draws: int = 2,
) -> None:
    """Check the derivatives of f, up to the given order, against finite differences.

        Σ ⟨x̄, v⟩ = d/dh ⟨c, f(x + h v)⟩ at h = 0,   x̄ = cᵀ ∂f/∂x from `grad`,   random directions v and cotangents c

    For order 2, the map (x, c) ↦ x̄ is checked in the same way, and so on. Gradients must also have the shape and dtype
    of their inputs and share no memory with other arrays; no array may be modified in place; and a second call of
    `grad` must return the same gradients.

    Args:
        xs: the arguments of f, with entries of order 1 and away from kinks.
        order: the highest order of derivative to check.
        tolerance: relative to Σ|x̄ v|; the rounding error of f, 2¹² ε Σ|c f(x)|, is allowed in addition.
        draws: the number of random directions and cotangents for each order.

    f must also keep float32: it is called with float32 inputs, and an operation that turns them into float64 is named.

    Raises: AssertionError if a derivative is wrong, or if f does not depend on one of the xs; TypeError if an input or
        the output is not float64, as float32 has too few digits for second derivatives by finite differences;
        ValueError if that rounding error exceeds a quarter of the derivative's norm.
    Source: the recursion over orders is that of JAX's check_grads.
    Checked by: tests/testing/test_gradients.py

    Example:
        >>> from tinygen.autograd import node, sin
        >>> x, rng = np.linspace(0.0, 1.0, 3), np.random.default_rng(0)
        >>> check_grads(lambda x: sin(x) * x, x, rng=rng)
        >>> check_grads(lambda x: node("square", x.value**2, (x, lambda g, y: g * x)), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: ... 2 of 3 entries are wrong, the worst at (2,): ... (all by a factor of 0.5).
    """
    check_rng(rng)
    check_positive(tolerance=tolerance)
    at_least(1, order=order, draws=draws)
    arrays = [_float64(f"xs[{i}]", x) for i, x in enumerate(xs)]
    if not arrays:
        raise ValueError("xs: expected one or more arrays, got none; pass the arguments of f after it")
    names = [f"xs[{i}]" for i in range(len(arrays))]
    Function("check_grads", "f", f, [f"x{i}" for i in range(len(arrays))] if len(arrays) > 1 else ["x"])
    stage = _Stage(1, lambda *tensors: [_called(f, tensors)], arrays, names)
    for number in range(1, order + 1):
        nonzero = [stage.compare(rng, tolerance) for _ in range(draws)]
        constant = [name for name, *found in zip(names, *nonzero, strict=False) if not any(found)]
        if number == 1 and constant:
            raise AssertionError(
                f"check_grads: f does not depend on {', '.join(constant)}: the gradient and the finite differences are "
                f"both 0, so nothing is checked. Remove the input, or choose a point where f depends on it."
            )
        stage = stage.next(rng)
    _require_float32_kept(f, arrays)


def check_parameter_grads(
    loss: Callable[[], Tensor],
    parameters: Sequence[Parameter],
    *,
    order: int = 1,
    rng: np.random.Generator,
    tolerance: float = 1e-8,
    draws: int = 2,
) -> None:
    """Check the gradients of a loss with respect to parameters that it uses, such as those of a model.

    The arguments and errors are those of `check_grads`. The parameters are restored afterwards. Convert a model
    first: model.astype(np.float64).

    Checked by: tests/testing/test_gradients.py
    """
    values = [p.value for p in parameters]

    def of_values(*tensors: Tensor) -> Tensor:
        for p, x in zip(parameters, tensors, strict=True):
            p.assign(x.value)
            p.edges = ((x, lambda g, y: g),)  # so that gradients propagate through p to x
        return loss()

    try:
        check_grads(of_values, *values, order=order, rng=rng, tolerance=tolerance, draws=draws)
    finally:
        for p, value in zip(parameters, values, strict=True):
            adopt(p, value)
            p.edges = ()


def _float64(name: str, x: TensorLike) -> Array:
    if not isinstance(x, Tensor | np.ndarray | float | np.floating):
        raise TypeError(f"{name}: expected an array, a Tensor or a float, got {type(x).__name__}; {ALTERNATIVE}")
    value = array_of(x)
    if value.dtype != np.float64:
        raise TypeError(
            f"{name}: expected float64, got {value.dtype}; pass x.astype(np.float64), and convert a model by "
            f"model.astype(np.float64)"
        )
    if value.size == 0:
        raise ValueError(f"{name}: expected at least one number, got an array of shape {value.shape}")
    if bad := value.size - np.count_nonzero(np.isfinite(value)):
        raise ValueError(f"{name}: expected finite numbers, got {bad} of {value.size} that are NaN or infinite")
    return value


def _called(f: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    try:
        y = f(*tensors)
    except (AttributeError, TypeError) as error:
        error.add_note(f"check_grads: raised by f, which was called with {len(tensors)} tinygen Tensors; {ALTERNATIVE}")
        raise
    if not isinstance(y, Tensor):
        raise TypeError(f"f: expected a tinygen Tensor as its result, got {_full_name(y)}; {ALTERNATIVE}")
    return y


def _full_name(y: object) -> str:
    return "None" if y is None else f"{type(y).__module__}.{type(y).__name__}"


def _require_float32_kept(f: Callable[..., Tensor], xs: Sequence[Array]) -> None:
    """Raise AssertionError if an operation in f turns float32 into float64. (`grad` converts the results of VJPs.)

    Operations of tinygen follow NumPy's rules, so they do so only for float64 operands, such as a constant of f. So
    only `astype` and operations defined elsewhere are reported, if all their differentiable operands are float32.
    """
    try:
        y = f(*(Tensor(x.astype(np.float32)) for x in xs))
    except (TypeError, ValueError):  # such as a kernel that refuses float32 data with float64 weights
        return
    seen, stack = set[int](), [y] if y.dtype == np.float64 else []
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        parents = [parent for parent, _ in tensor.edges if isinstance(parent, Tensor)]
        stack += parents
        operation = PRIMITIVES.get(tensor.op)
        trusted = tensor.op != "astype" and operation is not None and operation.__module__.startswith("tinygen.")
        narrow = bool(parents) and all(parent.dtype == np.float32 for parent in parents)
        if tensor.op and not trusted and narrow and tensor.dtype == np.float64:
            raise AssertionError(
                f"check_grads: the operation {tensor.op!r} in f turns float32 into float64; compute its value in the "
                f"dtype of its operands, such as np.asarray(value, x.dtype)"
            )


@dataclass(frozen=True)
class _Stage:
    """The check of one order: a map from several arrays to several tensors, whose gradients are checked."""

    order: int
    f: TensorFunction
    xs: list[Array]
    names: list[str]

    def next(self, rng: np.random.Generator) -> _Stage:
        """Return the stage that checks the VJP of this one, (x, c) ↦ cᵀ ∂f/∂x."""
        n = len(self.xs)
        cotangents = [rng.normal(size=y.shape) for y in self.f(*map(Tensor, self.xs))]

        def pulled_back(*tensors: Tensor) -> list[Tensor]:
            return _pull_back(self.f(*tensors[:n]), tensors[:n], tensors[n:], create_graph=True)

        labels = [f"cotangent {i} of order {self.order}" for i in range(len(cotangents))]
        return _Stage(self.order + 1, pulled_back, self.xs + cotangents, self.names + labels)

    def compare(self, rng: np.random.Generator, tolerance: float) -> list[bool]:
        """Check one random direction with random cotangents; return which inputs have a nonzero gradient."""
        ys = self.outputs()
        cotangents = [rng.normal(size=y.shape) for y in ys]
        gradients = self.gradients(cotangents)
        hint = f" Order {self.order - 1} is correct: does a VJP use .value or NumPy instead of tensor operations?"
        problem = Problem(f"check_grads, order {self.order}", self.values, self.xs, ys, self.names)
        compare(problem, cotangents, gradients, rng, tolerance, hint if self.order > 1 else "")
        return [bool(np.any(g)) for g in gradients]

    def values(self, *xs: Array) -> list[Array]:
        return [y.value for y in self.f(*map(Tensor, xs))]

    def outputs(self) -> list[Array]:
        """Evaluate f, after checking that it returns float64 tensors and is not random."""
        first, second = self.f(*map(Tensor, self.xs)), self.f(*map(Tensor, self.xs))
        for y, again in zip(first, second, strict=True):
            if y.dtype != np.float64:
                raise TypeError(f"f: expected float64, got {y.dtype}; is a parameter or constant in f {y.dtype}?")
            if not np.array_equal(y.value, again.value, equal_nan=True):
                raise AssertionError("check_grads: two calls of f differ; if f is random, seed it inside f")
        return [y.value for y in first]

    def gradients(self, cotangents: list[Array]) -> list[Array]:
        """Return the gradients, after checking everything but their values."""
        names, held = self.names + ["the cotangent"] * len(cotangents), [*self.xs, *cotangents]
        before = [x.copy() for x in held]
        inputs = [Tensor(x) for x in self.xs]
        ys = self.f(*inputs)
        first, second = (_pull_back(ys, inputs, cotangents, create_graph=False) for _ in range(2))
        where = f"check_grads, order {self.order}"
        for name, x, was in zip(names, held, before, strict=True):
            if not np.array_equal(x, was, equal_nan=True):
                raise AssertionError(f"{where}: {name} was modified in place, by f or by a VJP")
        for name, x, g, again in zip(self.names, self.xs, first, second, strict=True):
            if g.shape != x.shape or g.dtype != x.dtype:
                expected, got = f"{x.dtype} of shape {x.shape}", f"{g.dtype} of shape {g.shape}"
                raise AssertionError(f"{where}: the gradient of {name}: expected {expected}, got {got}")
            if not np.array_equal(g.value, again.value, equal_nan=True):
                raise AssertionError(
                    f"{where}: a second call of grad gives another gradient of {name}; a VJP modifies its cotangent or "
                    f"an array of the graph in place"
                )
        results = [g.value for g in first]
        owned = [(f"the gradient of {name}", g) for name, g in zip(self.names, results, strict=True)]
        others = itertools.product(owned, zip(names, held, strict=True))
        for (mine, a), (other, b) in itertools.chain(itertools.combinations(owned, 2), others):
            if np.shares_memory(a, b):
                raise AssertionError(f"{where}: {mine} shares memory with {other}")
        return results


def _pull_back(
    ys: list[Tensor], xs: Sequence[Tensor], cotangents: Sequence[TensorLike], create_graph: bool
) -> list[Tensor]:
    """Return Σ cᵀ ∂y/∂x over the outputs y, for each x."""
    total = grad(ys[0], xs, cotangents[0], create_graph, allow_unreached=True)
    for y, c in zip(ys[1:], cotangents[1:], strict=True):
        total = [a + b for a, b in zip(total, grad(y, xs, c, create_graph, allow_unreached=True), strict=True)]
    return total
