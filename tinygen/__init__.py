"""Generative models from scratch: automatic differentiation on NumPy, convolution kernels in Numba.

The modules (`tinygen.nn`, `tinygen.models`, …) are imported on first use, as are the functions of files.

Checked by: tests/test_import.py
"""

import importlib
from typing import TYPE_CHECKING, Any

from .autograd import Parameter, Tensor, grad, no_grad, value_and_grad
from .kernels.runtime.pool import get_num_threads, set_num_threads
from .recorded import register
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .interchange import export_safetensors, import_safetensors
    from .saving import load, save

_LAZY_MODULES = (
    "bijections", "data", "distributed", "distributions", "metrics", "models", "nn", "ode", "optim", "plot", "testing",
    "training",
)  # fmt: skip
_LAZY_FUNCTIONS = {
    "export_safetensors": "interchange", "import_safetensors": "interchange", "load": "saving", "save": "saving",
}  # fmt: skip
__all__ = [
    "Parameter", "Tensor", "export_safetensors", "get_num_threads", "grad", "import_safetensors", "load", "no_grad",
    "register", "save", "set_num_threads", "value_and_grad",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _LAZY_FUNCTIONS:
        return getattr(importlib.import_module(f".{_LAZY_FUNCTIONS[name]}", __name__), name)
    raise AttributeError(f"module 'tinygen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "autograd", *_LAZY_MODULES]
