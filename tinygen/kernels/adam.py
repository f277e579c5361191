"""One step of Adam in a single pass over memory; NumPy would need ten.

Checked by: tests/optim/test_optimizers.py
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .runtime.arrays import Array, as_contiguous, check_dtype, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_GRAIN = 1 << 15  # parameters in a part of about 50 µs


# Without the fastmath flags of `compiled`: no sum is reordered, and the results are bitwise equal without the JIT.
@partial(compiled, fastmath=frozenset())
def _adam(scalars: Any, value: Any, g: Any, m: Any, v: Any, new: Any, team: Any, size: int) -> None:
    start, stop = part(team, size)
    a, b, scale, root, eps, keep = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]
    beta1, beta2 = scalars[6], scalars[7]
    value, g, m, v, new = value[start:stop], g[start:stop], m[start:stop], v[start:stop], new[start:stop]
    for i in range(value.size):
        g2 = g[i] * g[i]
        # Where a weight is above ½, the first form would cancel digits.
        m[i] = m[i] + a * (g[i] - m[i]) if a <= 0.5 else g[i] + beta1 * (m[i] - g[i])
        v[i] = v[i] + b * (g2 - v[i]) if b <= 0.5 else g2 + beta2 * (v[i] - g2)
        new[i] = keep * value[i] - scale * m[i] / (root * np.sqrt(v[i]) + eps)


def adam(value: Array, g: Array, m: Array, v: Array, scalars: Sequence[float]) -> Array:
    """Update the moments m and v in place and return the new value of a parameter θ with gradient g.

        m ← m + a (g − m),   v ← v + b (g² − v),   θ ← keep · θ − scale · m / (root √v + ε)

    Args:
        scalars: a = 1 − β₁, b = 1 − β₂, scale = lr / (1 − β₁ᵗ), root = 1 / √(1 − β₂ᵗ), ε, and keep = 1 − lr · decay.

    Shapes: value, g, m and v have one shape and dtype; m and v are C-contiguous and writeable.
    Raises: TypeError or ValueError if they have not, or if there are not six scalars.
    """
    if len(scalars) != 6:
        raise ValueError(f"scalars: expected a, b, scale, root, ε and keep, got {len(scalars)} numbers")
    for name, array in (("g", g), ("m", m), ("v", v)):
        check_shape(name, array, value.shape)
        check_dtype(name, array, value.dtype)
    if not (m.flags.carray and v.flags.carray and value.dtype in (np.float32, np.float64)):
        raise ValueError(f"m, v: expected contiguous, writeable float32 or float64 arrays, got {value.dtype}")
    new = np.empty(value.shape, value.dtype)
    rounded = np.array((*scalars, 1 - scalars[0], 1 - scalars[1]), value.dtype)
    inputs = as_contiguous(value).reshape(-1), as_contiguous(g).reshape(-1)
    outputs = m.reshape(-1), v.reshape(-1), new.reshape(-1)
    run_parts(_adam, value.size, _GRAIN, rounded, *inputs, *outputs)
    return new
