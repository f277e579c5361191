"""Residual units, one after the other, at one position p of every image or sequence, for ancestral sampling.

    gated units, of WaveNet and the Gated PixelCNN: f = h
        (a, b) = context + b_gate + Σₜ f(p + oₜ) W_gate,t         z = tanh(a) ⊙ σ(b)
        h ← h + b_h + z W_h                                       skip ← skip + b_skip + z W_skip
    bottleneck blocks, of the PixelCNN: f = relu(relu(h) W_reduce + b_reduce)
        z = relu(context + b + Σₜ f(p + oₜ) Wₜ)                   h ← h + b_expand + z W_expand

For a few images, the overhead of calling a kernel exceeds its arithmetic, so one kernel computes all units, in float32.
For other dtypes the layers are evaluated one by one.

Checked by: tests/kernels/test_residual_units.py
"""

from collections.abc import Sequence
from operator import index
from typing import Any

import numba
import numpy as np

from ..arguments import explained
from .activation import gate_rows, gated_activation, relu
from .plans import GRAIN
from .position import FIRST_ROW, AtPosition, evaluate_rows, relu_rows, tile_rows
from .runtime.arrays import Array, aligned_empty, as_contiguous, check_dtype, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.registers import TILE_ROWS
from .runtime.team import run_parts


@compiled
def _copy(x: Array, y: Array, row: int) -> None:
    """y[row + i] = x[i]. Numba compiles this loop faster than a slice assignment, which may broadcast."""
    source, target, first = x.reshape(-1), y.reshape(-1), row * x.shape[1]
    for k in range(source.size):
        target[first + k] = source[k]


@compiled
def _gated_units(
    rows: Any, first: Array, inputs: Array, places: Array, context: Array, w_gate: Array, w_h: Array, w_skip: Array,
    h: Array, skip: Array, team: Array, size: int,
) -> None:  # fmt: skip
    """Replace h and skip by their values after the last unit. `first` is FIRST_ROW, for the pointwise layers."""
    start, stop = part(team, size)
    n, channels = stop - start, w_skip.shape[2] - 1
    zero = first[0]  # for a literal, Numba would compile the functions once more
    gates, z = np.empty((n, 2 * channels), h.dtype), np.empty((n, channels), h.dtype)
    before, after = h[start:stop], np.empty((n, h.shape[1]), h.dtype)
    total, next_total = skip[start:stop], np.empty((n, skip.shape[1]), h.dtype)
    for u in range(len(places)):
        _copy(before, inputs, places[u, -1] + start)
        added = context[u] if context.shape[1] != size else context[u][start:stop]
        evaluate_rows(rows, inputs, places[u, :-1], start, w_gate[u], added, gates)
        gate_rows(gates, z, zero, n)
        if u < len(w_h):
            evaluate_rows(rows, z, first, zero, w_h[u], before, after)
            before, after = after, before
        evaluate_rows(rows, z, first, zero, w_skip[u], total, next_total)
        total, next_total = next_total, total
    _copy(before, h, start)
    _copy(total, skip, start)


@compiled
def _bottleneck_blocks(
    rows: Any, first: Array, inputs: Array, places: Array, context: Array, w: Array, w_reduce: Array, w_expand: Array,
    h: Array, team: Array, size: int,
) -> None:  # fmt: skip
    """Replace h by its value after the last block. `first` is FIRST_ROW."""
    start, stop = part(team, size)
    n, nothing = stop - start, np.zeros((1, inputs.shape[1]), h.dtype)
    zero = first[0]  # see above
    f, z = np.empty((n, inputs.shape[1]), h.dtype), np.empty((n, w_expand.shape[2] - 1), h.dtype)
    before, after, positive = h[start:stop], np.empty((n, h.shape[1]), h.dtype), np.empty((n, h.shape[1]), h.dtype)
    for u in range(len(places)):
        relu_rows(before, positive)
        evaluate_rows(rows, positive, first, zero, w_reduce[u], nothing, f)
        relu_rows(f, f)
        _copy(f, inputs, places[u, -1] + start)
        added = context[u] if context.shape[1] != size else context[u][start:stop]
        evaluate_rows(rows, inputs, places[u, :-1], start, w[u], added, z)
        relu_rows(z, z)
        evaluate_rows(rows, z, first, zero, w_expand[u], before, after)
        before, after = after, before
    _copy(before, h, start)


class _Units:
    """Base class of GatedUnits and BottleneckBlocks: the layers of all units, one group for each kind of layer."""

    def __init__(self, taps: int, *groups: tuple[str, Sequence[AtPosition], int, int, bool]) -> None:
        """Check the groups, convolutions first: (name, layers, number of inputs, number of outputs, relu)."""
        layers = [layer for _, group, *_ in groups for layer in group]
        self.taps, self.convs, self.dtype = index(taps), groups[0][1], layers[0].dtype
        for name, group, *expected in groups:
            for layer in group:
                got = [len(layer.w) - 1, layer.channels, layer.relu, layer.dtype]
                if got != [*expected, self.dtype]:
                    wanted = "{} inputs, {} outputs, relu={}".format(*expected)
                    raise ValueError(f"{name}: expected layers with {wanted} in {self.dtype}, got {got}")
        self.grain = max(TILE_ROWS[0], GRAIN // sum(layer.w.size for layer in layers))
        self.is_fused = self.dtype == np.float32 and not numba.config.DISABLE_JIT
        if self.is_fused:  # without layers of a kind, an empty array of the same type
            self.packed = [
                _stacked([layer.packed for layer in group or self.convs])[: len(group)] for _, group, *_ in groups
            ]

    def check(self, places: Array, n: int, context: Array, **arrays: tuple[Array, tuple[int, ...]]) -> None:
        """Raise TypeError or ValueError unless the arrays are as the kernel expects: (array, its required shape)."""
        check_dtype("places", places, np.int64)
        check_shape("places", places, (len(self.convs), self.taps + 1))
        lead = len(self.convs), n if context.shape[1:2] == (n,) else 1
        arrays["context"] = context, (*lead, self.convs[0].channels)
        for name, (x, shape) in arrays.items():
            check_dtype(name, x, self.dtype)
            check_shape(name, x, shape)
        inputs, rows = arrays["inputs"][0], len(arrays["inputs"][0])
        if not inputs.flags.carray:
            raise ValueError("inputs: expected a C-contiguous, aligned and writeable array")
        if int(places.view(np.uint64).max()) > rows - n:  # as uint64, negative numbers are the largest
            raise ValueError(f"places: expected rows 0…{rows - n} of inputs, got {places}")


class GatedUnits(_Units):
    """Gated units: gates from `taps` · C_h to 2C channels, residuals from C to C_h and skips from C to C_skip.

    The last unit may have no residual layer; it then returns h unchanged.

    Shapes: inputs (rows, C_h), C-contiguous, with the inputs of all gates; places (units, taps + 1), int64, with the
    first of the n rows of `inputs` that each tap reads, then the first that h is written to; rows that are read and
    rows that are written are the same or do not overlap; context (units, n or 1, 2C); h (n, C_h), skip (n, C_skip).
    Raises: TypeError or ValueError if shapes, dtypes or layers do not match, or if a place is not in `inputs`.
    """

    @explained
    def __init__(
        self, gates: Sequence[AtPosition], residuals: Sequence[AtPosition], skips: Sequence[AtPosition], taps: int
    ) -> None:
        _check_counts(taps, gates=gates, skips=skips)
        if len(residuals) not in (len(gates) - 1, len(gates)):
            raise ValueError(f"residuals: expected {len(gates)}, or one less, got {len(residuals)}")
        half, self.width = gates[0].channels // 2, (len(gates[0].w) - 1) // taps
        self.residuals, self.skips = residuals, skips
        super().__init__(
            taps,
            ("gates", gates, taps * self.width, 2 * half, False),
            ("residuals", residuals, half, self.width, False),
            ("skips", skips, half, skips[0].channels, False),
        )

    @explained
    def __call__(
        self, inputs: Array, places: Array, n: int, context: Array, h: Array, skip: Array
    ) -> tuple[Array, Array]:
        """Return h (n, C_h) and skip (n, C_skip) after the last unit; write the inputs of the units to `inputs`."""
        rows = {"inputs": (inputs, (len(inputs), self.width)), "h": (h, (n, self.width))}
        self.check(places, n, context, **rows, skip=(skip, (n, self.skips[0].channels)))
        places, context, h, skip = as_contiguous(places), as_contiguous(context), h.copy(), skip.copy()
        if not self.is_fused:
            return self.plain(inputs, places, n, context, h, skip)
        run_parts(_gated_units, n, self.grain, tile_rows(n), FIRST_ROW, inputs, places, context, *self.packed, h, skip)
        return h, skip

    def plain(self, inputs: Array, places: Array, n: int, context: Array, h: Array, skip: Array) -> tuple[Array, Array]:
        """Compute the same layer by layer."""
        for u, (gate, last) in enumerate(zip(self.convs, self.skips, strict=True)):
            inputs[places[u, -1] :][:n] = h
            added = np.broadcast_to(context[u], (n, gate.channels))
            z = gated_activation(gate(inputs, places[u, :-1], n, added))
            skip = last(z, FIRST_ROW, n, skip)
            if u < len(self.residuals):
                h = self.residuals[u](z, FIRST_ROW, n, h)
        return h, skip


class BottleneckBlocks(_Units):
    """Bottleneck blocks: reduces from C_h to C_f, convs from `taps` · C_f to C and expands from C to C_h channels.

    The layers `reduces` and `convs` end with relu.

    Shapes: inputs (rows, C_f) and context (units, n or 1, C), else as for GatedUnits.
    Raises: as GatedUnits.
    """

    @explained
    def __init__(
        self, convs: Sequence[AtPosition], reduces: Sequence[AtPosition], expands: Sequence[AtPosition], taps: int
    ) -> None:
        _check_counts(taps, convs=convs, reduces=reduces, expands=expands)
        self.reduces, self.expands, self.width = reduces, expands, expands[0].channels
        super().__init__(
            taps,
            ("convs", convs, taps * reduces[0].channels, convs[0].channels, True),
            ("reduces", reduces, self.width, reduces[0].channels, True),
            ("expands", expands, convs[0].channels, self.width, False),
        )

    @explained
    def __call__(self, inputs: Array, places: Array, n: int, context: Array, h: Array) -> Array:
        """Return h (n, C_h) after the last block; write the inputs of the convolutions to `inputs`."""
        shape = len(inputs), self.reduces[0].channels
        self.check(places, n, context, inputs=(inputs, shape), h=(h, (n, self.width)))
        places, context, h = as_contiguous(places), as_contiguous(context), h.copy()
        if not self.is_fused:
            return self.plain(inputs, places, n, context, h)
        run_parts(_bottleneck_blocks, n, self.grain, tile_rows(n), FIRST_ROW, inputs, places, context, *self.packed, h)
        return h

    def plain(self, inputs: Array, places: Array, n: int, context: Array, h: Array) -> Array:
        """Compute the same layer by layer."""
        for u, (reduce, conv, expand) in enumerate(zip(self.reduces, self.convs, self.expands, strict=True)):
            inputs[places[u, -1] :][:n] = reduce(relu(h), FIRST_ROW, n)
            z = conv(inputs, places[u, :-1], n, np.broadcast_to(context[u], (n, conv.channels)))
            h = expand(z, FIRST_ROW, n, h)
        return h


def _stacked(arrays: Sequence[Array]) -> Array:
    return np.stack(arrays, out=aligned_empty((len(arrays), *arrays[0].shape), arrays[0].dtype))


def _check_counts(taps: int, **layers: Sequence[Any]) -> None:
    counts = {name: len(group) for name, group in layers.items()}
    if taps < 1 or min(counts.values()) < 1 or len(set(counts.values())) > 1:
        raise ValueError(
            f"{' and '.join(layers)}: expected one layer per unit, and at least one tap, got {counts} and {taps}"
        )
