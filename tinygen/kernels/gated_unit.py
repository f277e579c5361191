"""The gated residual unit of WaveNet at one position of every sequence, for ancestral sampling.

    (a, b) = context + b_gate + Σₜ x[startsₜ + i] W_gate,t        z = tanh(a) ⊙ σ(b)
    h′ = h + b_h + z W_h                                          skip′ = skip + b_skip + z W_skip

For a few sequences, the overhead of calling a kernel exceeds the arithmetic, so one kernel computes all of it.

Checked by: tests/kernels/test_gated_unit.py
"""

from functools import partial
from typing import Any

import numba
import numpy as np

from ..arguments import explained
from .activation import gate_rows, gated_activation
from .position import AtPosition, _evaluate, tile_rows
from .runtime.arrays import Array
from .runtime.compilation import compiled
from .runtime.pool import parallel_for, split

_FIRST = np.zeros(1, np.int64)


@compiled
def _evaluate_unit(
    rows: Any, x: Array, starts: Array, w_gate: Array, context: Array, w_h: Array, h: Array, next_h: Array,
    w_skip: Array, skip: Array, next_skip: Array, start: int, stop: int,
) -> None:  # fmt: skip
    """Compute rows start … stop of next_h (n, C_h or 0) and next_skip (n, C_skip)."""
    n, channels, first = len(next_skip), w_skip.shape[1] - 1, np.zeros(1, np.int64)
    gates, z = np.empty((n, 2 * channels), x.dtype), np.empty((n, channels), x.dtype)
    _evaluate(rows, x, starts, w_gate, context, False, gates, start, stop)
    gate_rows(gates, z, start, stop)
    if next_h.size:
        _evaluate(rows, z, first, w_h, h, False, next_h, start, stop)
    _evaluate(rows, z, first, w_skip, skip, False, next_skip, start, stop)


class GatedUnit:
    """The layers of a gated residual unit. Without the layer of h, as in the last unit of a network, h′ is h.

    Shapes: x (rows, C_in), starts (taps,) and context (n, 2C) or None as for the `AtPosition` of the gate; h (n, C_h),
    skip (n, C_skip) or None.
    Raises: TypeError or ValueError if shapes or dtypes do not match.
    """

    @explained
    def __init__(self, gate: AtPosition, residual: AtPosition | None, skip: AtPosition) -> None:
        self.gate, self.residual, self.skip = gate, residual, skip
        self.is_fused = gate.dtype == np.float32 and not numba.config.DISABLE_JIT
        for layer in (skip,) if residual is None else (residual, skip):
            if layer.dtype != gate.dtype or 2 * (len(layer.w) - 1) != gate.channels:
                raise ValueError(
                    f"residual and skip: expected layers of half of the {gate.channels} channels of the gate, in "
                    f"{gate.dtype}, got {len(layer.w) - 1} and {layer.dtype}"
                )
        self.grain = min(layer.grain for layer in (gate, skip))

    @explained
    def __call__(
        self, x: Array, starts: Array, n: int, context: Array | None, h: Array, skip: Array | None
    ) -> tuple[Array, Array]:
        """Return h′ (n, C_h) and skip′ (n, C_skip)."""
        if not self.is_fused:
            return self.plain(x, starts, n, context, h, skip)
        gate, residual, last = self.gate, self.residual, self.skip
        gate.check_inputs(x, starts, n)
        context, skip = gate.as_residual(context, n, "context"), last.as_residual(skip, n, "skip")
        next_skip = np.empty((n, last.channels), x.dtype)
        if residual is None:
            w_h, next_h = last.packed, h[:0]  # not computed
        else:
            w_h, h, next_h = residual.packed, residual.as_residual(h, n, "h"), np.empty(h.shape, h.dtype)
        arrays = x, starts, gate.packed, context, w_h, h, next_h, last.packed, skip, next_skip
        if n < 2 * self.grain:  # the usual case: too little work to split
            _evaluate_unit(tile_rows(n), *arrays, 0, n)
        else:
            parallel_for(partial(_evaluate_unit, tile_rows(n), *arrays), split(n, self.grain))
        return h if residual is None else next_h, next_skip

    def plain(
        self, x: Array, starts: Array, n: int, context: Array | None, h: Array, skip: Array | None
    ) -> tuple[Array, Array]:
        """Compute the same layer by layer."""
        for name, layer, added in ("context", self.gate, context), ("h", self.residual, h), ("skip", self.skip, skip):
            if layer is not None:
                layer.as_residual(added, n, name)
        z = gated_activation(self.gate(x, starts, n, context))
        next_h = h if self.residual is None else self.residual(z, _FIRST, n, h)
        return next_h, self.skip(z, _FIRST, n, skip)
