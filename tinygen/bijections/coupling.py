"""Coupling layers: one part of x is passed through and parameterises a map of the other part.

The Jacobian is triangular, so its log-determinant is a sum. The network is never inverted and may be any function.
`Mask` defines the two parts; see coupling_masks.py for the checkerboard.

Checked by: tests/bijections/test_coupling.py
"""

from typing import Protocol

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, exp, split, tanh
from ..checks import check_event, require
from .bijection import Bijection, Context, sum_event, zero_log_det
from .coupling_masks import Mask


class Network(Protocol):
    """A function of the part a and the context. If it has an attribute `context`, that is the context's size."""

    def __call__(self, a: Tensor, context: Context) -> Tensor:
        """Map a (N, …, C_a) to the parameters of b's map, (N, …, C_b) or (N, …, 2·C_b)."""


class AdditiveCoupling(Bijection):
    """Additive coupling layer of NICE.

        z_a = x_a,   z_b = x_b + t(x_a),   ln|det ∂z/∂x| = 0

    Args:
        mask: the split of x into the parts x_a and x_b.
        network: the function t, which maps x_a (N, *mask.shapes[0]) to (N, *mask.shapes[1]).

    Shapes: x, z (N, *mask.shape).
    Source: Dinh, Krueger & Bengio, "NICE: non-linear independent components estimation", 2015, section 3.2.

    Example:
        >>> coupling = AdditiveCoupling(Mask("half", (4,)), lambda a, context: a * a)
        >>> coupling.to_noise(np.array([[1.0, 2.0, 3.0, 4.0]])).value
        array([[1., 2., 4., 8.]])
    """

    def __init__(self, mask: Mask, network: Network) -> None:
        self.mask, self.network, self.context = mask, network, getattr(network, "context", None)

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        return self.mask.merge(a, b + self._shift(a, context)), zero_log_det(x)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("z", z, self.mask.shape)
        a, b = self.mask.split(z)
        return self.mask.merge(a, b - self._shift(a, context)), zero_log_det(z)

    def _shift(self, a: Tensor, context: Context) -> Tensor:
        return _evaluated(self.network, a, context, (len(a), *self.mask.shapes[1]))


class AffineCoupling(Bijection):
    """Affine coupling layer of RealNVP.

        z_a = x_a,   z_b = x_b ⊙ exp s(x_a) + t(x_a),   ln|det ∂z/∂x| = Σ s(x_a)

    s = w ⊙ tanh ŝ is bounded by a learned w (C,) per channel, so exp s does not overflow. The network computes ŝ and t,
    concatenated along the last axis. If its output is zero, the coupling is the identity.

    Args:
        mask: the split of x into the parts x_a and x_b.
        network: maps x_a (N, *mask.shapes[0]) to ŝ and t, (N, …, 2C), where x_b is (N, …, C).

    Shapes: x, z (N, *mask.shape).
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.2.

    Example:
        >>> from tinygen.autograd import concatenate
        >>> coupling = AffineCoupling(Mask("half", (4,)), lambda a, context: concatenate([a, a], 1))
        >>> z, log_det = coupling.forward(np.array([[0.0, 1.0, 3.0, 4.0]]))
        >>> round(log_det.item(), 4)  # tanh 0 + tanh 1
        0.7616
    """

    def __init__(self, mask: Mask, network: Network) -> None:
        self.mask, self.network, self.context = mask, network, getattr(network, "context", None)
        self.w = Parameter(np.ones(mask.shapes[1][-1]))

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, b * exp(s) + t), sum_event(s)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("z", z, self.mask.shape)
        a, b = self.mask.split(z)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, (b - t) * exp(-s)), -sum_event(s)

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        check_event("z", z, self.mask.shape)
        a, b = self.mask.split(z)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, (b - t) * exp(-s))

    def _scale_and_shift(self, a: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        *shape, channels = self.mask.shapes[1]
        s, t = split(_evaluated(self.network, a, context, (len(a), *shape, 2 * channels)), 2, -1)
        return self.w * tanh(s), t


def _evaluated(network: Network, a: Tensor, context: Context, shape: tuple[int, ...]) -> Tensor:
    """Return network(a, context) after checking its shape."""
    y = network(a, context)
    require(y.shape == shape, "network", f"output of shape {shape}", y.shape)
    return y
