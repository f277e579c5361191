"""Generative models from scratch: autodiff on NumPy, convolutions in Numba, every claim a test that can fail.

Here are the names of a first session; everything else is in the modules below, imported when they are first used
(`tinygen.nn`, `tinygen.models`, …).

Checked by: tests/test_import.py
"""

from __future__ import annotations

import importlib
from types import ModuleType

from .autograd import Parameter, Tensor, grad, no_grad, value_and_grad

__version__ = "0.1.0"
_ON_FIRST_USE = (
    "bijections",
    "data",
    "distributions",
    "metrics",
    "models",
    "nn",
    "ode",
    "optim",
    "plot",
    "testing",
    "training",
)
__all__ = ["Parameter", "Tensor", "grad", "no_grad", "value_and_grad"]


def __getattr__(name: str) -> ModuleType:
    if name in _ON_FIRST_USE:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tinygen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "autograd", *_ON_FIRST_USE]
