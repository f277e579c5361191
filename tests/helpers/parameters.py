"""Random parameters and gradients for the tests of optimisers and averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.autograd import Array, Parameter, Tensor

SHAPES = [(3, 4), (4,), (), (2, 1, 3)]


def parameters(seed: int = 0, dtype: Any = np.float32) -> list[Parameter]:
    rng = np.random.default_rng(seed)
    return [Parameter(rng.normal(size=shape), dtype) for shape in SHAPES]


def gradients(seed: int, dtype: Any = np.float32) -> list[Tensor]:
    rng = np.random.default_rng([7, seed])
    return [Tensor(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def float64(tensors: list[Any]) -> list[Array]:
    return [t.value.astype(np.float64) for t in tensors]
