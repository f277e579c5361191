"""The LSTM: a layer that carries a state along a sequence, evaluated over all of it at once or position by position.

Checked by: tests/nn/test_recurrent.py
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, linear, lstm, lstm_cell, matmul
from ..autograd.tensor import array_of
from ..checks import at_least
from .init import glorot_uniform, orthogonal
from .module import Module

State: TypeAlias = tuple[TensorLike, TensorLike]  # h, what is seen from outside, and c, the cell


class LSTM(Module):
    """(h_t, c_t) = lstm_cell(x_t w + h_{t−1} u + b, c_{t−1}), from h_0 = c_0 = 0

        i, f, o = σ(…),   g = tanh(…),   c_t = f c_{t−1} + i g,   h_t = o tanh(c_t)

    `lstm(x)` gives h at all positions of a sequence, `lstm.step(x, state)` the state after one more of them. The four
    gates stand side by side in w, u and b in the order i, f, g, o, so each of the two products is one for all gates.

    The forget gate's bias starts at 1, so that f ≈ 0.73: with 0 the cell, and the gradient with it, would be halved at
    every step, and nothing would be learned over more than a few. Each gate's part of u starts orthogonal, which
    neither stretches nor shrinks h.

    Shapes: x (N, T, n_in), h (N, T, n_out); in a step x (N, n_in), h and c (N, n_out); w (n_in, 4 n_out),
    u (n_out, 4 n_out), b (4 n_out,).  Raises ValueError if n_in or n_out is below 1 or x does not fit.
    Source: as that of `autograd.lstm_cell`; the bias: Jozefowicz, Zaremba & Sutskever, "An empirical exploration of
    recurrent network architectures", 2015.
    """

    def __init__(self, n_in: int, n_out: int, rng: np.random.Generator) -> None:
        at_least(1, n_in=n_in, n_out=n_out)
        self.w = Parameter(glorot_uniform((n_in, 4 * n_out), (n_in, n_out), rng))
        self.u = Parameter(np.concatenate([orthogonal(n_out, rng) for _ in range(4)], axis=1))
        self.b = Parameter(np.repeat([0.0, 1.0, 0.0, 0.0], n_out))

    def __call__(self, x: TensorLike) -> Tensor:
        self._check(x, ("N", "T"))
        return lstm(linear(x, self.w, self.b), self.u)  # the inputs' product is one for all positions

    def step(self, x: TensorLike, state: State) -> tuple[Tensor, Tensor]:
        """Return the state (h, c) at the next position, whose input is x."""
        self._check(x, ("N",))
        h, c = state
        return lstm_cell(linear(x, self.w, self.b) + matmul(h, self.u), c)

    def start(self, n: int) -> State:
        """Return the state before the first position of n sequences: zeros."""
        zeros = np.zeros((n, self.u.shape[0]), self.u.dtype)
        return zeros, zeros

    def _check(self, x: TensorLike, lead: tuple[str, ...]) -> None:
        shape, n_in = array_of(x).shape, self.w.shape[0]
        if len(shape) != len(lead) + 1 or shape[-1] != n_in:
            raise ValueError(f"LSTM x: expected shape ({', '.join(lead)}, {n_in}), got {shape}")
