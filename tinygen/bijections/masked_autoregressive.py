"""The autoregressive bijection: each variable is moved by a function of those before it.

    zᵢ = τ(xᵢ; θᵢ),   θᵢ = net(x)ᵢ, computed from x₍<ᵢ₎ only,   ln|det ∂z/∂x| = Σᵢ ln ∂τ(xᵢ; θᵢ)/∂xᵢ

The Jacobian is triangular in the order of the net, so its determinant is the product of its diagonal. From x to z all θ
are known at once: one evaluation of the network. From z to x, θᵢ needs the variables before i: D of them.

Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017.
Checked by: tests/bijections/test_masked_autoregressive.py
"""

from __future__ import annotations

import numpy as np

from ..autograd import Array, Tensor, TensorLike, index, scatter_add
from ..autograd.tensor import array_of, is_grad_enabled, value_of
from ..nn.masked import MaskedMLP
from .bijection import Bijection
from .transformers import Transformer


class MaskedAutoregressive(Bijection):
    """zᵢ = τ(xᵢ; net(x)ᵢ), in the order of the net.

    `inverse` evaluates the net once for each variable, and can be differentiated like `forward`. Where nobody will
    differentiate (`no_grad`), it evaluates each unit of the net once instead, as soon as its inputs are known.

    Shapes: x, z (N, D), log_det (N,), context (N, C) if the net has one.
    Raises ValueError if the net's width is not the transformer's, or if an argument does not fit the net.
    """

    def __init__(self, net: MaskedMLP, transformer: Transformer) -> None:
        if net.width != transformer.width:
            raise ValueError(f"net: expected width {transformer.width}, the transformer's, got {net.width}")
        self.net, self.transformer = net, transformer

    @property
    def context(self) -> int | None:
        return self.net.context

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self.net(x, context))
        return z, log_slope.sum(1)

    def to_noise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        return self.transformer.forward(x, self.net(x, context))[0]

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        v = array_of(z)
        if v.ndim != 2 or v.dtype.kind != "f":
            raise ValueError(f"z: expected floats (N, {self.net.variables}), got {v.dtype} of shape {v.shape}")
        if not is_grad_enabled():
            return self._remembering(v, value_of(context))
        x, log_det = Tensor(np.zeros_like(v)), Tensor(np.zeros_like(v[:, 0]))
        weights = self.net.weights()
        for variable in map(int, self.net.order()):
            here = (slice(None), variable)
            # Right once all variables before this one are in x.
            parameters = self.net(x, context, weights=weights, variable=variable)
            drawn, log_slope = self.transformer.inverse(index(z, here), parameters)
            x, log_det = x + scatter_add(drawn, here, x.shape), log_det + log_slope
        return x, log_det

    def _remembering(self, z: Array, context: Array | None) -> tuple[Tensor, Tensor]:
        x = np.zeros(z.shape, np.result_type(z, self.net.dtype))
        log_det = np.zeros_like(x[:, 0])
        for variable, parameters in self.net.one_by_one(x, context):
            drawn, log_slope = self.transformer.inverse(z[:, variable], parameters)
            x[:, variable] = drawn.value
            log_det += log_slope.value
        return Tensor(x), Tensor(log_det)
