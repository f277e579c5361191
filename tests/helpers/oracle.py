"""The three convolutions as dense sums, from their trilinear form.

Σₚₜ ⟨y(p), x(s·p + oₜ) Wₜ⟩ = Σ x[n, q, c] W[t, c, d] y[n, p, d] connected[t, p, q]
"""

from __future__ import annotations

import math

import numpy as np

from tinygen.autograd import Array
from tinygen.autograd.taps import Taps

Size = tuple[int, ...]


def conv(x: Array, w: Array, taps: Taps, stride: int, size: Size) -> Array:
    y: Array = np.einsum("nqc,tcd,tpq->npd", _flat(x), w, _connected(taps, stride, x.shape[1:-1], size))
    return y.reshape(len(x), *size, w.shape[2])


def conv_transpose(y: Array, w: Array, taps: Taps, stride: int, size: Size) -> Array:
    x: Array = np.einsum("npd,tcd,tpq->nqc", _flat(y), w, _connected(taps, stride, size, y.shape[1:-1]))
    return x.reshape(len(y), *size, w.shape[1])


def conv_weight(x: Array, y: Array, taps: Taps, stride: int) -> Array:
    connected = _connected(taps, stride, x.shape[1:-1], y.shape[1:-1])
    return np.asarray(np.einsum("nqc,npd,tpq->tcd", _flat(x), _flat(y), connected))


def _flat(x: Array) -> Array:
    return x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])


def _connected(taps: Taps, stride: int, x_size: Size, y_size: Size) -> Array:
    """Return 1 where s·p + oₜ = q, else 0, at [t, p, q]."""
    p, q = (np.array(list(np.ndindex(*size)), int).reshape(-1, len(size)) for size in (y_size, x_size))
    reached = stride * p[None, :, None, :] + np.array(taps)[:, None, None, :]
    return np.asarray(np.all(reached == q, axis=-1), float)
