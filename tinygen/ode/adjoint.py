"""Gradients through the solution of dy/dt = f(t, y; θ) by the adjoint method, which stores no steps of the solver.

    a(t) = ∂L/∂y(t),   da/dt = −aᵀ ∂f/∂y,   ∂L/∂θ = −∫ aᵀ ∂f/∂θ dt  from t1 to t0

y, a and the integral are computed together, backwards in time from t1. Memory does not grow with the number of steps,
but a second problem must be solved, and the gradients are only as accurate as the two solutions.

Source: Chen, Rubanova, Bettencourt & Duvenaud, "Neural ordinary differential equations", 2018, algorithm 1.
Checked by: tests/ode/test_adjoint.py
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..arguments import explained
from ..autograd import Array, Tensor, concatenate, grad, multiply, no_grad, node, reshape
from ..autograd.backward import depends_on
from ..autograd.grad_mode import is_grad_enabled, set_grad_enabled
from ..autograd.tensor import array_of
from ..checks import require
from .solvers import Solution, Solver, State, VectorField


@explained
def solve_with_adjoint(
    f: VectorField, y: State, t0: float, t1: float, *, solver: Solver, inputs: Iterable[Tensor]
) -> Solution:
    """Return solver(f, y, t0, t1), with gradients with respect to y and `inputs` by the adjoint method.

    `inputs` are the other tensors that f depends on, such as parameters; tensors that are not listed get no gradient.
    All parts of y must have the same dtype.

    Raises: what the solver raises, here and in the backward pass; ValueError if parts of y differ in dtype, or if one
    of the inputs is computed from another; RuntimeError for second derivatives.
    """
    require(isinstance(y, tuple | list) and len(y) > 0, "y", "a tuple of arrays or tensors", y)
    dtypes = list(dict.fromkeys(str(array_of(part).dtype) for part in y))
    require(len(dtypes) == 1, "y", "parts of the same dtype", " and ".join(dtypes))
    inputs = _independent(inputs)
    with no_grad():
        solution = solver(f, tuple(Tensor(array_of(part)) for part in y), t0, t1)
    require(isinstance(solution, Solution), "solver", "a function that returns a Solution", type(solution).__name__)
    end = [array_of(part) for part in solution.y]
    # Pack all inputs into one, so that a single VJP solves one problem for all gradients.
    packed = concatenate([reshape(part, -1) for part in (*y, *inputs)])

    def vjp(g: Tensor, _: Tensor) -> Tensor:
        if is_grad_enabled():
            raise RuntimeError("solve_with_adjoint: second derivatives are not supported; call the solver directly")

        def backward_field(t: float, state: State) -> State:
            y, adjoint = [Tensor(part) for part in state[: len(end)]], state[len(end) : 2 * len(end)]
            with set_grad_enabled(True):
                k = f(t, tuple(y))
                first, *rest = (multiply(part, a).sum() for part, a in zip(k, adjoint, strict=True))
                product = sum(rest, first)  # aᵀ f
            gradients = grad(product, [*y, *inputs], allow_unreached=True)
            return (*map(array_of, k), *(-gradient.value for gradient in gradients))

        start = (*end, *_unpack(g.value, end), *(np.zeros_like(x.value) for x in inputs))
        gradients = solver(backward_field, start, t1, t0).y[len(end) :]
        return Tensor(np.concatenate([part.ravel() for part in gradients]))

    flat = node("solve_with_adjoint", np.concatenate([part.ravel() for part in end]), (packed, vjp))
    return replace(solution, y=tuple(_unpack(flat, end)))


def _independent(inputs: Iterable[Tensor]) -> list[Tensor]:
    """Return the inputs without repetitions. Raises ValueError if one is computed from another.

    Its gradient would include the path through the tensors computed from it, which the outer backward pass adds again.
    """
    distinct = list(dict.fromkeys(inputs))
    for i, x in enumerate(distinct):
        if depends_on(x, distinct[:i] + distinct[i + 1 :]):
            raise ValueError(
                f"inputs[{i}]: expected a tensor that is not computed from another input, got {x!r}; remove it: "
                f"gradients propagate through it to the other inputs"
            )
    return distinct


def _unpack(flat: Tensor | Array, like: Sequence[Array]) -> list[Tensor | Array]:
    """Split a flat array into arrays with the shapes of `like`."""
    ends = np.cumsum([part.size for part in like]).tolist()
    return [flat[stop - part.size : stop].reshape(part.shape) for stop, part in zip(ends, like, strict=True)]
