"""The autoregressive bijection: each variable is moved by a function of those before it.

    zᵢ = τ(xᵢ; θᵢ),   θᵢ = net(x)ᵢ, computed from x₍<ᵢ₎ only,   ln|det ∂z/∂x| = Σᵢ ln ∂τ(xᵢ; θᵢ)/∂xᵢ

The Jacobian is triangular in the order of the net, so its determinant is the product of its diagonal. From x to z all θ
are known at once: one evaluation of the network. From z to x, θᵢ needs the variables before i: D of them.

Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017; τ is called the
transformer in Huang et al., "Neural Autoregressive Flows", 2018.
Checked by: tests/bijections/test_autoregressive.py
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..autograd import Array, Tensor, TensorLike, concatenate, exp, index, multiply, scatter_add, split, subtract, tanh
from ..autograd.tensor import array_of, taping, value_of
from ..nn.masks import MaskedMLP
from .bijection import Bijection
from .mixture_cdf import MixtureCDF


class Transformer(Protocol):
    """An increasing function of one variable, chosen by `width` numbers that a network computes.

    Shapes: x, z and log_slope (…), parameters (…, width).
    """

    width: int

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return z = τ(x; θ) and ln ∂z/∂x."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return x with τ(x; θ) = z and ln ∂x/∂z."""


class AffineTransformer:
    """z = x eˢ + t,   ln ∂z/∂x = s = bound · tanh(θ₀ / bound),   t = θ₁

    The bound keeps eˢ within e^±bound, whatever the network says far away from its data: drawn variables are inputs to
    those after them, and without it a chain of a few would overflow. Near 0, s = θ₀ as if there were none.
    """

    width = 2

    def __init__(self, bound: float = 5.0) -> None:
        if not bound > 0:
            raise ValueError(f"bound: expected a positive number, got {bound}")
        self.bound = bound

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(parameters)
        return multiply(x, exp(s)) + t, s

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(parameters)
        return subtract(z, t) * exp(-s), -s

    def _log_scale_and_shift(self, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = index(parameters, (..., 0)), index(parameters, (..., 1))
        return _bounded(s, self.bound), t


class BoundedMixtureCDF(MixtureCDF):
    """A `MixtureCDF` whose ln s are within ±bound, for the reason given above: its tails make far points frequent."""

    def __init__(self, components: int, kind: str = "logistic", noise: str = "normal", bound: float = 5.0) -> None:
        super().__init__(components, kind, noise)
        self.bound = bound

    def _checked(self, x: TensorLike, parameters: TensorLike) -> TensorLike:
        others, log_scales = split(super()._checked(x, parameters), [2 * self.width // 3], -1)
        return concatenate([others, _bounded(log_scales, self.bound)], -1)


def _bounded(s: Tensor, bound: float) -> Tensor:
    return bound * tanh(s / bound)


class MaskedAutoregressive(Bijection):
    """zᵢ = τ(xᵢ; net(x)ᵢ), in the order of the net.

    `inverse` evaluates the net once for each variable, and can be differentiated like `forward`. Where nobody will
    differentiate (`no_grad`), it evaluates each unit of the net once instead, as soon as its inputs are known.

    Shapes: x, z (N, D), log_det (N,), condition (N, C) if the net has one.
    Raises ValueError if the net's width is not the transformer's, or if an argument does not fit the net.
    """

    def __init__(self, net: MaskedMLP, transformer: Transformer) -> None:
        if net.width != transformer.width:
            raise ValueError(f"net: expected width {transformer.width}, the transformer's, got {net.width}")
        self.net, self.transformer = net, transformer

    @property
    def condition(self) -> int | None:
        return self.net.condition

    def forward(self, x: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self.net(x, condition))
        return z, log_slope.sum(1)

    def inverse(self, z: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        v = array_of(z)
        if v.ndim != 2 or v.dtype.kind != "f":
            raise ValueError(f"z: expected floats (N, {self.net.variables}), got {v.dtype} of shape {v.shape}")
        if not taping():
            return self._remembering(v, value_of(condition))
        x, log_det = Tensor(np.zeros_like(v)), Tensor(np.zeros_like(v[:, 0]))
        weights = self.net.weights()
        for variable in map(int, self.net.order()):
            here = (slice(None), variable)
            # Right once all variables before this one are in x.
            parameters = self.net(x, condition, weights=weights, variable=variable)
            drawn, log_slope = self.transformer.inverse(index(z, here), parameters)
            x, log_det = x + scatter_add(drawn, here, x.shape), log_det + log_slope
        return x, log_det

    def _remembering(self, z: Array, condition: Array | None) -> tuple[Tensor, Tensor]:
        x = np.zeros(z.shape, np.result_type(z, self.net.dtype))
        log_det = np.zeros_like(x[:, 0])
        for variable, parameters in self.net.one_by_one(x, condition):
            drawn, log_slope = self.transformer.inverse(z[:, variable], parameters)
            x[:, variable] = drawn.value
            log_det += log_slope.value
        return Tensor(x), Tensor(log_det)
