"""Coupling layers: one part of x is passed through and parameterises a map of the other part.

    z_a = x_a,   z_b = τ(x_b; θ(x_a)),   where τ is an increasing function of each element of x_b

The Jacobian is triangular, so its log-determinant is a sum. The network is never inverted and may be any function.
`Mask` defines the two parts; see coupling_masks.py for the checkerboard.

Checked by: tests/bijections/test_coupling.py
"""

from typing import Protocol

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, exp, reshape, split, tanh
from ..checks import check_event, require
from .bijection import Bijection, Context, sum_event, zero_log_det
from .coupling_masks import Mask
from .transformers import Transformer


class Network(Protocol):
    """A function of the part a and the context. If it has an attribute `context`, that is the context's size."""

    def __call__(self, a: Tensor, context: Context) -> Tensor:
        """Map a (N, …, C_a) to the parameters of b's map, (N, …, C_b) times their number per element of b."""


class CouplingLayer(Bijection):
    """Base class of couplings, which define how x_b is transformed given the network's output.

    Args:
        mask: the split of x into the parts x_a and x_b.
        network: maps x_a (N, *mask.shapes[0]) to `width` numbers per element of x_b, concatenated along the last axis.
    """

    width: int

    def __init__(self, mask: Mask, network: Network) -> None:
        self.mask, self.network, self.context = mask, network, getattr(network, "context", None)

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        b, log_slope = self._forward(b, self._evaluate(a, context))
        return self.mask.merge(a, b), zero_log_det(x) if log_slope is None else sum_event(log_slope)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self._invert(z, context)
        return x, zero_log_det(z) if log_slope is None else sum_event(log_slope)

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        return self._invert(z, context)[0]

    def _invert(self, z: TensorLike, context: Context) -> tuple[Tensor, Tensor | None]:
        check_event("z", z, self.mask.shape)
        a, b = self.mask.split(z)
        b, log_slope = self._inverse(b, self._evaluate(a, context))
        return self.mask.merge(a, b), log_slope

    def _evaluate(self, a: Tensor, context: Context) -> Tensor:
        """Return network(a, context) after checking its shape."""
        *shape, channels = self.mask.shapes[1]
        y, expected = self.network(a, context), (len(a), *shape, self.width * channels)
        require(y.shape == expected, "network", f"output of shape {expected}", y.shape)
        return y

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Transform x_b, given the output y of the network. Return z_b and ln ∂z_b/∂x_b, or None if that is 0."""
        raise NotImplementedError

    def _inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return x_b and ln ∂x_b/∂z_b."""
        raise NotImplementedError


class AdditiveCoupling(CouplingLayer):
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

    width = 1

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, None]:
        return x + y, None

    def _inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, None]:
        return z - y, None


class AffineCoupling(CouplingLayer):
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

    width = 2

    def __init__(self, mask: Mask, network: Network) -> None:
        super().__init__(mask, network)
        self.w = Parameter(np.ones(mask.shapes[1][-1]))

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = split(y, 2, -1)
        s = self.w * tanh(s)
        return x * exp(s) + t, s

    def _inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = split(y, 2, -1)
        s = -(self.w * tanh(s))
        return (z - t) * exp(s), s


class Coupling(CouplingLayer):
    """Coupling layer with any transformer τ, such as a `RationalQuadraticSpline`.

        z_a = x_a,   z_b = τ(x_b; θ(x_a)),   ln|det ∂z/∂x| = Σ ln ∂τ(x_b; θ(x_a))/∂x_b

    Args:
        mask: the split of x into the parts x_a and x_b.
        network: the function θ, which maps x_a (N, *mask.shapes[0]) to (N, …, C · transformer.width), where x_b is
            (N, …, C): all parameters of the first channel, then those of the second, and so on.
        transformer: the increasing function τ.

    Shapes: x, z (N, *mask.shape).
    Source: Durkan, Bekasov, Murray & Papamakarios, "Neural spline flows", 2019, section 2.1.

    Example:
        >>> from tinygen.bijections import AffineTransformer
        >>> coupling = Coupling(Mask("half", (2,)), lambda a, context: a * np.ones(2), AffineTransformer())
        >>> z, log_det = coupling.forward(np.array([[0.5, 3.0]]))
        >>> round(log_det.item(), 4)  # 5 tanh(0.5 / 5)
        0.4983
    """

    def __init__(self, mask: Mask, network: Network, transformer: Transformer) -> None:
        super().__init__(mask, network)
        self.transformer, self.width = transformer, transformer.width

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.transformer.forward(x, self._parameters(x, y))

    def _inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.transformer.inverse(z, self._parameters(z, y))

    def _parameters(self, x: Tensor, y: Tensor) -> Tensor:
        return reshape(y, (*x.shape, self.width))
