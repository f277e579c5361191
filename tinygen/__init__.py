"""Generative models from scratch: automatic differentiation on NumPy, convolution kernels in Numba.

The modules (`tinygen.nn`, `tinygen.models`, …) are imported on first use.

Checked by: tests/test_import.py
"""

import importlib
from types import ModuleType

from .autograd import Parameter, Tensor, grad, no_grad, value_and_grad
from .kernels.runtime.pool import get_num_threads, set_num_threads
from .recorded import register
from .version import __version__ as __version__

_LAZY_MODULES = (
    "bijections", "data", "distributions", "metrics", "models", "nn", "ode", "optim", "plot", "testing", "training",
)  # fmt: skip
__all__ = ["Parameter", "Tensor", "get_num_threads", "grad", "no_grad", "register", "set_num_threads", "value_and_grad"]


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY_MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tinygen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "autograd", *_LAZY_MODULES]
