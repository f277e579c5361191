"""Every public function differentiates an argument that is a Tensor, or refuses it by name: no derivative is lost.

The table in helpers/public_calls.py has a valid call of every public function. Each test replaces one numeric argument
at a time by a Tensor.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

import numpy as np
import pytest
from helpers.public_calls import Call, is_named
from helpers.public_model_calls import calls

from tinygen.autograd import Tensor, grad, node
from tinygen.autograd.tensor import array_of
from tinygen.ode import Solution

CALLS = calls()
STEP = 1e-5
# Where a Tensor is accepted and not differentiated, and why.
WITHOUT_DERIVATIVE = {
    "autograd.astype x": "float32 is too coarse for finite differences: tests/autograd/test_primitives.py",
    "bijections.Affine scale": "kept for forward: tests/bijections/test_elementwise.py",
    "bijections.Affine shift": "kept for forward: tests/bijections/test_elementwise.py",
    "data.Images labels": "a record of three values",
    "data.Images levels": "a record of three values",
    "data.Images pixels": "a record of three values",
    "distributions.Gaussian scale": "kept for log_prob: tests/distributions/test_distributions.py",
    # documented
    "bijections.ActNorm.initialise x": "the initial parameters are constants",
    "bijections.Chain.initialise x": "the initial parameters are constants",
    "nn.ActivationCache.evaluate residual": "the result has no edges",
    "nn.ActivationCache.evaluate x": "the result has no edges",
    **{f"nn.ActivationCache.gated_units {name}": "the results have no edges" for name in ("h", "total", "context")},
    **{f"nn.ActivationCache.bottleneck_blocks {name}": "the result has no edges" for name in ("h", "context")},
    "optim.clip_by_global_norm gradients": "the result has no edges",
}


def is_numeric(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(is_numeric, value))
    return isinstance(value, float | int | np.ndarray | Tensor) and array_of(value).dtype.kind in "fiu"


PAIRS = [(name, argument) for name, call in CALLS.items() for argument, v in call.arguments.items() if is_numeric(v)]


def tensors_in(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple | GeneratorType):
        for item in result:
            yield from tensors_in(item)
    elif isinstance(result, Solution):
        yield from tensors_in(result.y)


def evaluate(call: Call, argument: str, value: Any) -> list[Tensor]:
    """Return the tensors in the result, with new generators, so that every evaluation draws the same numbers."""
    arguments = {**call.arguments, argument: value}
    if "rng" in arguments:
        arguments["rng"] = np.random.default_rng(0)
    return list(tensors_in(call.function(**arguments)))


def lost_derivative(call: Call, argument: str) -> str | None:
    """Return what is wrong with a call in which one argument is a Tensor, or None."""
    given = call.arguments[argument]
    in_list = isinstance(given, list | tuple) and isinstance(given[0], np.ndarray | Tensor)
    first = array_of(given[0] if in_list else given)
    v = first + 0.013 if first.dtype.kind == "f" else first.astype(np.float64)  # away from kinks
    rng = np.random.default_rng(1)
    direction = rng.standard_normal(v.shape)

    def outputs_at(x: Tensor) -> list[Tensor]:
        return evaluate(call, argument, (x, *given[1:]) if in_list else x)

    x = Tensor(v)
    try:
        outputs = outputs_at(x)
    except (TypeError, ValueError) as refusal:
        named = is_named(str(refusal), call, {argument: x.value})
        return None if named else f"the refusal does not name {argument}: {refusal}"
    if not outputs:  # arrays have no derivative; an object may keep the Tensor
        return "kept by the object" if inspect.isclass(call.function) else None
    weights = [rng.standard_normal(y.shape) for y in outputs]

    by_x = [grad(y, [x], w, allow_unreached=True)[0].value for y, w in zip(outputs, weights, strict=True)]
    exact = float(np.sum(sum(by_x) * direction))

    def total(x: Tensor) -> float:
        return sum(float(np.sum(w * y.value)) for w, y in zip(weights, outputs_at(x), strict=True))

    numeric = (total(Tensor(v + STEP * direction)) - total(Tensor(v - STEP * direction))) / (2 * STEP)
    off = abs(exact - numeric) > 1e-4 * (1 + abs(numeric))
    return f"derivative {exact}, of finite differences {numeric}" if off else None


@pytest.mark.parametrize(("name", "argument"), PAIRS)
def test_a_tensor_is_differentiated_or_refused_by_name(name: str, argument: str) -> None:
    fault = lost_derivative(CALLS[name], argument)
    assert (fault is not None) == (f"{name} {argument}" in WITHOUT_DERIVATIVE), fault


def test_a_lost_derivative_is_found() -> None:
    right = Call("multiply", lambda a, b: a * b, {"a": Tensor(2.5), "b": 3.5})
    lost = Call(
        "multiply", lambda a, b: node("multiply", array_of(a) * array_of(b), (a, lambda g, y: g * b)), right.arguments
    )
    assert lost_derivative(right, "b") is None
    assert lost_derivative(lost, "a") is None
    assert str(lost_derivative(lost, "b")).startswith("derivative 0.0")
