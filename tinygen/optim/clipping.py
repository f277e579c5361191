"""Gradient clipping by global norm, and detection of NaN and infinite gradients.

Checked by: tests/optim/test_clipping.py
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..arguments import explained
from ..autograd import Array, Tensor
from ..checks import require


class NonFiniteGradientError(FloatingPointError, ValueError):
    """A gradient has NaN or infinite entries, or is too large for the optimiser; `index` is its index in the list."""

    def __init__(self, index: int, gradient: Array) -> None:
        bad = np.count_nonzero(~np.isfinite(gradient))
        fault = f"{bad} of {gradient.size} entries are NaN or infinite"
        if not bad:
            fault = f"entries of up to {np.abs(gradient).max():.3g}, whose squares overflow {gradient.dtype}"
        super().__init__(f"gradients[{index}] of shape {gradient.shape}: {fault}")
        self.index = index


class StepOverflowError(FloatingPointError, ValueError):
    """A step of an optimiser would make a parameter or its velocity infinite."""


@explained
def clip_by_global_norm(gradients: Sequence[Tensor], max_norm: float) -> tuple[list[Tensor], float]:
    """Scale all gradients by one factor so that their global norm is at most max_norm. Also return the original norm.

    The scaled gradients have no edges: they cannot be differentiated again.

        g ← g · min(1, max_norm / ‖g‖),   ‖g‖² = Σᵢ ‖gᵢ‖²

    Raises: ValueError if max_norm is not positive; NonFiniteGradientError if a gradient has NaN or infinite entries, or
        if the norm overflows; TypeError if a gradient is not of floating point.
    Source: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013.

    Example:
        >>> (clipped,), norm = clip_by_global_norm([Tensor([3.0, 4.0])], max_norm=1.0)
        >>> clipped.value.round(2).tolist(), norm
        ([0.6, 0.8], 5.0)
    """
    number = isinstance(max_norm, float | int | np.floating | np.integer)
    require(number and max_norm > 0, "max_norm", "a positive number", max_norm)
    for i, g in enumerate(gradients):
        if g.dtype.kind != "f":
            raise TypeError(f"gradients[{i}]: expected a floating-point Tensor, got {g.dtype}")
    norms = [finite_norm(i, g.value) for i, g in enumerate(gradients)]
    norm = math.hypot(*norms)
    if norm == math.inf:  # the factor would be 0
        largest = norms.index(max(norms))
        raise NonFiniteGradientError(largest, gradients[largest].value)
    if norm <= max_norm:
        return list(gradients), norm
    factor = float(max_norm) / norm  # a Python float, which does not promote float32 gradients
    return [Tensor(g.value * factor) for g in gradients], norm


def finite_norm(index: int, g: Array) -> float:
    """Return ‖g‖. Raises NonFiniteGradientError if g has NaN or infinite entries."""
    squared = _sum_of_squares(g.ravel("K"))
    if _least_sum(g.dtype) < squared < math.inf or g.size == 0:
        return math.sqrt(squared)
    largest = float(np.abs(g).max())
    if not math.isfinite(largest):
        raise NonFiniteGradientError(index, g)
    return largest * math.sqrt(_sum_of_squares(g.ravel("K").astype(np.float64) / largest)) if largest else 0.0


def _sum_of_squares(x: Array) -> float:
    """Return Σ x².

    A product of more than 10⁴ float64 numbers would run on threads of OpenBLAS, which spin for milliseconds afterwards.
    """
    size = 1 << 13 if x.dtype == np.float64 else max(x.size, 1)
    return sum(float(np.vdot(part, part)) for part in (x[i : i + size] for i in range(0, x.size, size)))


@cache
def _least_sum(dtype: np.dtype[Any]) -> float:
    """Return the sum of squares below which squares that underflow can be a significant part of it."""
    return float(np.finfo(dtype).tiny) / float(np.finfo(dtype).eps) ** 2
