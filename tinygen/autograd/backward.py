"""Reverse-mode differentiation: `grad` propagates a cotangent of the output back to the inputs.

`_path` finds the tensors between the inputs and the output, and `_backward` visits them in reverse order. The
adjoint of a tensor is the sum of the contributions of all edges that lead to it; `accumulate` adds one.

Source: Griewank & Walther, "Evaluating Derivatives", 2008, chapter 3.
Checked by: tests/autograd/test_backward.py and, for every operation, tests/autograd/test_primitives.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from ..arguments import explained
from .grad_mode import is_grad_enabled, set_grad_enabled
from .parameter import Parameter, cast
from .tensor import PRIMITIVES, VJP, Tensor, TensorLike, array_of, node


@dataclass(frozen=True)
class IndexVJP:
    """The VJP of x[key]: zero outside `key`, which selects no element twice.

    If x already has an adjoint, `accumulate` adds the cotangent at `key` in place. The gradient of n slices then takes
    time proportional to the size of x; with a full array of zeros for each slice it would take n times as long.
    """

    key: Any
    vjp: VJP

    def __call__(self, g: Tensor, y: Tensor) -> Tensor:
        return self.vjp(g, y)


@dataclass(frozen=True)
class AddingVJP:
    """A VJP that can add its result to the parent's adjoint in the pass over memory that computes it.

    `accumulate` calls vjp(g, y, adjoint) if the parent has an adjoint, and vjp(g, y) if not.
    """

    vjp: Callable[..., Tensor]

    def __call__(self, g: Tensor, y: Tensor, *adjoint: Tensor) -> Tensor:
        return self.vjp(g, y, *adjoint)


@explained
def grad(
    output: Tensor,
    inputs: Iterable[Tensor],
    cotangent: TensorLike | None = None,
    create_graph: bool = False,
    allow_unreached: bool = False,
) -> list[Tensor]:
    """Reverse-mode derivative of `output` with respect to each of `inputs`: x̄ᵢ = gᵀ ∂output/∂xᵢ.

    VJPs are called only on paths from an input to the output. The graph is not freed, so a second call gives the same
    result.

    Args:
        cotangent: g, of the output's shape; 1 by default if the output has one element.
        create_graph: record the derivative, so that it can be differentiated again.
        allow_unreached: return zeros for an input that does not reach the output.

    Shapes: cotangent as output; results as inputs.
    Raises: ValueError if the output has several elements and no cotangent is given, if the shapes differ, or if there
        are no inputs or one does not reach the output; TypeError if the output or an input is not a floating-point
        Tensor; RuntimeError if a parameter was assigned a new value after an operation on the path used it.

    Example:
        >>> x = Tensor(3.0)
        >>> grad(x * x, [x])
        [Tensor(6., dtype=float64, op=add)]
    """
    inputs, seed = check_inputs(inputs), _seed(output, cotangent)
    return _backward(_path(output, inputs), seed, inputs, create_graph, allow_unreached)


def value_and_free(
    output: list[Tensor], inputs: Iterable[Tensor], allow_unreached: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Return the value and the derivative of a scalar, and free its graph during the backward pass.

    `output` is a list with one tensor, which is removed from it: since the caller holds no reference, every value is
    freed as soon as the backward pass has visited it.
    """
    inputs, seed = check_inputs(inputs), _seed(output[0], None)
    value = Tensor(output[0].value)
    path = _path(output.pop(), inputs)
    return value, _backward(path, seed, inputs, False, allow_unreached)


def _backward(
    path: list[Tensor], seed: Tensor, inputs: Sequence[Tensor], create_graph: bool, allow_unreached: bool
) -> list[Tensor]:
    """Propagate the seed along `path`, which is emptied, and return the adjoints of the inputs."""
    input_ids, on_path = {id(x) for x in inputs}, {id(tensor) for tensor in path}
    # The adjoint of the output is the seed.
    adjoints = {id(path[-1]): seed} if path else {}
    owned: set[int] = set()
    with set_grad_enabled(create_graph):
        while path:
            # Take the latest tensor. All tensors computed from it have been visited, so its adjoint is complete.
            tensor = path.pop()
            adjoint = adjoints[id(tensor)] if id(tensor) in input_ids else adjoints.pop(id(tensor))
            # Each edge to a parent on the path contributes VJP(adjoint) to the adjoint of that parent.
            for parent, vjp in tensor.edges:
                if id(parent) in on_path:
                    accumulate(adjoints, owned, parent, vjp, adjoint, tensor)
            del adjoint, tensor  # free the values now
    return _results(adjoints, seed, inputs, create_graph, allow_unreached)


def accumulate(
    adjoints: dict[int, Tensor], owned: set[int], parent: Tensor, vjp: VJP, adjoint: Tensor, tensor: Tensor
) -> None:
    """Add the contribution of the edge tensor → parent to the parent's adjoint.

    The first contribution is stored without a copy: it may be the cotangent itself, or a view of it. The sum of it and
    the second is a new array, which is `owned` by this backward pass, so later ones may be added in place.
    """
    key = id(parent)
    if key in owned and isinstance(vjp, IndexVJP):
        adjoints[key].value[vjp.key] += adjoint.value
        return
    total = adjoints.get(key)
    if isinstance(vjp, AddingVJP) and total is not None:
        adjoints[key] = _call_vjp(vjp, adjoint, tensor, parent, total)
    else:
        contribution = _call_vjp(vjp, adjoint, tensor, parent)
        if total is None:
            adjoints[key] = contribution
            return
        if key in owned:
            total.value += contribution.value
            return
        adjoints[key] = total + contribution
    if not is_grad_enabled():
        owned.add(key)


def _call_vjp(vjp: Callable[..., Tensor], adjoint: Tensor, tensor: Tensor, parent: Tensor, *total: Tensor) -> Tensor:
    contribution: Any = adjoint  # replaced by what the VJP returns, which may not be a Tensor
    try:
        contribution = vjp(adjoint, tensor, *total)
        return _as_parent(contribution, parent)
    except Exception as error:
        which = f"the VJP of {tensor.op!r} for parent {[vjp for _, vjp in tensor.edges].index(vjp)}"
        if isinstance(contribution, Tensor):
            error.add_note(f"in {which}")
            raise
        raise TypeError(f"{which}: expected a Tensor, got {type(contribution).__name__}") from error


def _as_parent(cotangent: Tensor, parent: Tensor) -> Tensor:
    """Undo broadcasting and type promotion: return a cotangent with the parent's shape and dtype."""
    if cotangent.value.shape != parent.value.shape:
        cotangent = PRIMITIVES["sum_to"](cotangent, parent.value.shape)
    if cotangent.value.dtype != parent.value.dtype:
        cotangent = PRIMITIVES["astype"](cotangent, parent.value.dtype)
    return cotangent


def independent(tensors: Iterable[TensorLike]) -> list[Any]:
    """Return a new node with the value of each tensor, so that none is computed from another; constants unchanged.

    A VJP may be the gradient of a composition. It is taken with respect to these nodes: with respect to the tensors
    themselves it would include the paths from one to another, which the backward pass adds again.
    """
    return [node("operand", x.value, (x, lambda g, y: g)) if isinstance(x, Tensor) else x for x in tensors]


def check_inputs(inputs: Iterable[Tensor]) -> list[Tensor]:
    """Return the inputs of `grad` as a list, after checking that they are floating-point Tensors."""
    if isinstance(inputs, Tensor):
        raise TypeError("inputs: expected a sequence of Tensors, got a single Tensor; use grad(output, [x])")
    inputs = list(inputs)
    if not inputs:
        raise ValueError("inputs: expected at least one Tensor, got none")
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or x.dtype.kind != "f":
            kind = f"a Tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"inputs[{i}]: expected a floating-point Tensor, got {kind}")
    return inputs


def _seed(output: Tensor, cotangent: TensorLike | None) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"output: expected a Tensor, got {type(output).__name__}; compute it with tinygen.autograd")
    if output.dtype.kind != "f":
        raise TypeError(f"output: expected a floating-point Tensor, got {output.dtype}, which has no derivative")
    if cotangent is None:
        if output.size != 1:
            raise ValueError(
                f"output: expected one element, got shape {output.shape}; reduce it (output.sum()) or pass cotangent=…"
            )
        return Tensor(np.ones(output.shape, output.dtype))
    seed = cotangent
    if not isinstance(seed, Tensor):
        array = array_of(seed)
        seed = Tensor(array if array.dtype == output.dtype else cast("cotangent", array, output.dtype))
    if seed.shape != output.shape:
        raise ValueError(f"cotangent: expected shape {output.shape}, as output has, got {seed.shape}")
    return _as_parent(seed, output)


def _path(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """List the tensors on paths from `inputs` to `output` in topological order; empty if there is no such path."""
    # A tensor with a smaller order than every input cannot depend on any of them, and is not visited.
    earliest = min((x.first_order if isinstance(x, Parameter) else x.order for x in inputs), default=output.order)
    found, stack = {output}, [output]  # a set is safe, since tensors hash by identity
    while stack:
        for parent, _ in stack.pop().edges:
            if parent.order >= earliest and parent not in found:
                found.add(parent)
                stack.append(parent)
    reached, path = set(inputs), []
    for tensor in sorted(found, key=attrgetter("order")):
        parents = [parent for parent, _ in tensor.edges]
        if tensor in reached or not reached.isdisjoint(parents):
            _check_current(tensor, parents)
            reached.add(tensor)
            path.append(tensor)
    return path if output in reached else []


def depends_on(output: Tensor, inputs: Sequence[Tensor]) -> bool:
    """Return whether the output is computed from one of the inputs."""
    return bool(inputs and output.edges and _path(output, inputs))


def _check_current(tensor: Tensor, parents: list[Tensor]) -> None:
    """Raise if a parent was assigned a new value after the tensor was computed: the VJPs may read it."""
    for parent in parents:
        if parent.order > tensor.order:
            raise RuntimeError(
                f"grad: a parameter of shape {parent.shape} was assigned a new value after {tensor.op!r} used it; "
                f"compute the output again"
            )


def _results(
    adjoints: dict[int, Tensor], seed: Tensor, inputs: Sequence[Tensor], create_graph: bool, allow_unreached: bool
) -> list[Tensor]:
    results, returned = [], {id(seed.value)}
    for i, x in enumerate(inputs):
        adjoint = adjoints.get(id(x))
        if adjoint is None:
            if not allow_unreached:
                raise ValueError(
                    f"inputs[{i}]: expected a Tensor that the output depends on, got one of shape {x.shape} that does "
                    f"not reach it; use it outside no_grad, or pass allow_unreached=True to get zeros"
                )
            adjoint = Tensor(np.zeros_like(x.value))
        elif not create_graph:
            # A VJP may return its cotangent, or a view of it: copy, so that no two results share memory.
            if id(adjoint.value) in returned or adjoint.value.base is not None:
                adjoint = Tensor(adjoint.value.copy())
            returned.add(id(adjoint.value))
        results.append(adjoint)
    return results
