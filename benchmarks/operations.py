"""Floating-point operations of a call, to compare its rate with the machine's limit.

These are the multiply-adds, two operations each, of the matrix products, perceptrons, convolutions and LSTMs in
tinygen; the same number is used for PyTorch. Elementwise functions are left out: where they take most of the time, such
as in a flow of two dimensions, the rate of both libraries is low. The kernels that evaluate a single position are not
counted.

Checked by: tests/benchmarks/test_operations.py
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygen.kernels import convolution, lstm, mlp
from tinygen.kernels.product import product

Array = np.ndarray[Any, Any]

# Multiply-adds of a call, from its result and its operands
_FORMULAS: dict[Callable[..., Any], Callable[..., int]] = {
    product: lambda y, a, b, *_, **__: y.size * a.shape[-1],
    convolution.conv: lambda y, x, w, *_, **__: w.size * y[..., 0].size,
    convolution.conv_transpose: lambda x, y, w, *_, **__: w.size * y[..., 0].size,
    convolution.conv_weight: lambda w, x, y, *_: w.size * y[..., 0].size,
    mlp.forward: lambda hs, x, ws, *_: len(x) * sum(w.size for w in ws),
    mlp.backward: lambda cs, g, hs, ws, activation, lowest=0: len(g) * sum(w.size for w in ws[lowest + 1 :]),
    lstm.lstm: lambda results, x, u: u.size * len(x) * (x.shape[1] - 1),
    lstm.lstm_vjp: lambda dx, g, u, *_: u.size * len(g) * (g.shape[1] - 1),
}


def operations(call: Callable[[], object]) -> float:
    """Return the number of floating-point operations of a call."""
    total, inside = 0, False

    def counted(function: Callable[..., Any], formula: Callable[..., int]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal total, inside
            outer, inside = inside, True  # a stack of products calls `product` again, for each of them
            try:
                result = function(*args, **kwargs)
            finally:
                inside = outer
            total += 0 if inside else formula(result, *args, **kwargs)
            return result

        return wrapper

    with _replaced({function: counted(function, formula) for function, formula in _FORMULAS.items()}):
        call()
    return 2.0 * total


@contextmanager
def _replaced(wrappers: dict[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
    """Replace functions by their wrappers in all modules of tinygen."""
    by_id = {id(function): wrapper for function, wrapper in wrappers.items()}
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "tinygen"]
    found = [(m, name, value) for m in modules for name, value in vars(m).items() if id(value) in by_id]
    try:
        for module, name, value in found:
            setattr(module, name, by_id[id(value)])
        yield
    finally:
        for module, name, value in found:
            setattr(module, name, value)
