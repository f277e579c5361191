"""Calls of NumPy functions with tensors: their errors name the operation of tinygen to call instead.

Checked by: tests/autograd/test_numpy_calls.py
"""

from __future__ import annotations

import sys

import numpy as np

# `array + tensor` calls np.add, which cannot be told from a call by name, so that these are computed.
OPERATORS = frozenset({np.add, np.subtract, np.multiply, np.divide, np.power, np.matmul})
COMPARISONS = frozenset({np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal})
# NumPy functions whose operation has another name.
RENAMED = {
    "absolute": "abs", "add.reduce": "sum", "amax": "max", "amin": "min", "column_stack": "concatenate",
    "dot": "matmul", "expand_dims": "reshape", "hstack": "concatenate", "linalg.slogdet": "logabsdet",
    "maximum.reduce": "max", "minimum.reduce": "min", "moveaxis": "transpose", "ravel": "reshape",
    "swapaxes": "transpose", "vstack": "concatenate",
}  # fmt: skip


def call_error(name: str) -> TypeError:
    """Return the error of a call of np.NAME with a tensor, whose edges would be lost."""
    operation = RENAMED.get(name, name.rpartition(".")[2])
    known = operation in vars(sys.modules[__name__.rpartition(".")[0]])["__all__"]
    use = f"call tinygen.autograd.{operation}, or pass" if known else "without derivatives, pass"
    return TypeError(f"np.{name}: expected arrays, got a Tensor; {use} tensor.value")
