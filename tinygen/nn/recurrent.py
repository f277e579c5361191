"""The LSTM, evaluated over a whole sequence or one time step at a time.

Checked by: tests/nn/test_recurrent.py
"""

from typing import TypeAlias

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, linear, lstm, lstm_cell, matmul
from ..autograd.tensor import array_of
from ..checks import at_least, require
from .init import glorot_uniform, orthogonal
from .layers import cast_integers
from .module import Module

State: TypeAlias = tuple[TensorLike, TensorLike]  # the hidden state h and the cell state c


class LSTM(Module):
    """Long short-term memory layer.

        i, f, o = σ(…),   g = tanh(…)                 of the four parts of x_t w + h_{t−1} u + b
        c_t = f c_{t−1} + i g,   h_t = o tanh(c_t)    from h_0 = c_0 = 0

    `lstm(x)` returns h at all time steps; `lstm.step(x, state)` returns the next state. The weights of the gates
    are concatenated in the order i, f, g, o, so that all gates share one matrix product.

    The bias of the forget gate is initialised to 1, so that f ≈ 0.73. With 0, the cell state and its gradient would be
    halved at every step. The four blocks of u are initialised to orthogonal matrices, which preserve the norm of h.

    Shapes: x (N, T, n_in), h (N, T, n_out); for a step x (N, n_in), h and c (N, n_out); w (n_in, 4 n_out),
    u (n_out, 4 n_out), b (4 n_out,).
    Raises: ValueError if n_in or n_out is below 1 or x has the wrong shape.
    Source: as for `autograd.lstm_cell`; for the bias, Jozefowicz, Zaremba & Sutskever, "An empirical exploration of
    recurrent network architectures", 2015.

    Example:
        >>> lstm = LSTM(3, 8, np.random.default_rng(0))
        >>> lstm(np.zeros((5, 20, 3))).shape
        (5, 20, 8)
        >>> h, c = lstm.step(np.zeros((5, 3)), lstm.initial_state(5))
    """

    def __init__(self, n_in: int, n_out: int, rng: np.random.Generator) -> None:
        at_least(1, n_in=n_in, n_out=n_out)
        self.w = Parameter(glorot_uniform((n_in, 4 * n_out), (n_in, n_out), rng))
        self.u = Parameter(np.concatenate([orthogonal(n_out, rng) for _ in range(4)], axis=1))
        self.b = Parameter(np.repeat([0.0, 1.0, 0.0, 0.0], n_out))

    def __call__(self, x: TensorLike) -> Tensor:
        self._check(x, ("N", "T"))
        x = cast_integers(x, self.w.dtype)
        return lstm(linear(x, self.w, self.b), self.u)  # one matrix product x w for all time steps

    def step(self, x: TensorLike, state: State) -> tuple[Tensor, Tensor]:
        """Return the state (h, c) after the time step with input x."""
        self._check(x, ("N",))
        h, c = state
        shape = (len(array_of(x)), self.u.shape[0])
        for part in map(array_of, (h, c)):
            require(part.shape == shape, "state", f"h and c of shape {shape}", part.shape)
        x = cast_integers(x, self.w.dtype)
        return lstm_cell(linear(x, self.w, self.b, residual=matmul(h, self.u)), c)

    def initial_state(self, n: int) -> State:
        """Return the state of n sequences before the first time step: zeros."""
        at_least(0, n=n)
        zeros = np.zeros((n, self.u.shape[0]), self.u.dtype)
        return zeros, zeros

    def _check(self, x: TensorLike, lead: tuple[str, ...]) -> None:
        shape, n_in = array_of(x).shape, self.w.shape[0]
        if len(shape) != len(lead) + 1 or shape[-1] != n_in:
            raise ValueError(f"LSTM x: expected shape ({', '.join(lead)}, {n_in}), got {shape}")
