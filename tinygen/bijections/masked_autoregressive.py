"""Masked autoregressive bijection: each variable is transformed given the variables before it."""

import numpy as np

from ..autograd import Array, Tensor, TensorLike, index, scatter_add
from ..autograd.grad_mode import is_grad_enabled
from ..autograd.tensor import array_of, value_of
from ..checks import require
from ..nn.masked import MaskedMLP
from .bijection import Bijection, Context
from .transformers import Transformer


class MaskedAutoregressive(Bijection):
    """Masked autoregressive bijection.

        zᵢ = τ(xᵢ; θᵢ),   θᵢ = net(x)ᵢ, a function of x₍<ᵢ₎ only,   ln|det ∂z/∂x| = Σᵢ ln ∂τ(xᵢ; θᵢ)/∂xᵢ

    The Jacobian is triangular in the order of the variables. `forward` needs one evaluation of the net; `inverse`
    computes the variables one at a time and needs D. Under `no_grad`, `inverse` is faster: it caches activations and
    evaluates each hidden unit once, as soon as its inputs are known.

    Args:
        net: a masked network, which defines the order of the variables; net.width is the number of parameters in θᵢ.
        transformer: the increasing function τ.

    Shapes: x, z (N, D); context (N, net.context).
    Raises: ValueError if net.width is not transformer.width.
    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017.
    Checked by: tests/bijections/test_masked_autoregressive.py

    Example:
        >>> from tinygen.bijections import AffineTransformer
        >>> net = MaskedMLP(3, 2, np.random.default_rng(0), hidden=(8,))
        >>> z, log_det = MaskedAutoregressive(net, AffineTransformer()).forward(np.ones((5, 3)))
        >>> z.shape, log_det.shape
        ((5, 3), (5,))
    """

    def __init__(self, net: MaskedMLP, transformer: Transformer) -> None:
        require(net.width == transformer.width, "net", f"width {transformer.width}, as of the transformer", net.width)
        self.net, self.transformer, self.context = net, transformer, net.context

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self.net(x, context))
        return z, log_slope.sum(1)

    def to_noise(self, x: TensorLike, context: Context = None) -> Tensor:
        return self.transformer.forward(x, self.net(x, context))[0]

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        v = array_of(z)
        wanted = f"floats of shape (N, {self.net.variables})"
        require(v.ndim == 2 and v.dtype.kind == "f", "z", wanted, f"{v.dtype} of shape {v.shape}")
        if not is_grad_enabled():
            return self._cached_inverse(v, value_of(context))
        x, log_det = Tensor(np.zeros_like(v)), Tensor(np.zeros_like(v[:, 0]))
        weights = self.net.weights()
        for variable in map(int, self.net.order()):
            column = (slice(None), variable)
            parameters = self.net(x, context, weights=weights, variable=variable)
            x_i, log_slope = self.transformer.inverse(index(z, column), parameters)
            x, log_det = x + scatter_add(x_i, column, x.shape), log_det + log_slope
        return x, log_det

    def _cached_inverse(self, z: Array, context: Array | None) -> tuple[Tensor, Tensor]:
        x = np.zeros(z.shape, np.result_type(z, self.net.dtype))
        log_det = np.zeros_like(x[:, 0])
        for variable, parameters in self.net.one_by_one(x, context):  # reads x as the loop fills it in
            x_i, log_slope = self.transformer.inverse(z[:, variable], parameters)
            x[:, variable] = x_i.value
            log_det += log_slope.value
        return Tensor(x), Tensor(log_det)
