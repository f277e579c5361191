"""Random parameters for tests of modules."""

from typing import Any, TypeVar

import numpy as np

from tinygen.nn import Module

M = TypeVar("M", bound=Module)


def randomised(module: M, rng: np.random.Generator, dtype: Any = np.float64) -> M:
    """Return the module in this dtype with all parameters drawn from N(0, 1), so that a forgotten bias is noticed."""
    for parameter in module.astype(dtype).parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    return module
