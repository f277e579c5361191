"""Masked autoregressive flow (MAF): a stack of masked autoregressive bijections.

    ln p(x | c) = ln N(z; 0, I) + Σₗ Σᵢ ln ∂τ/∂xᵢ,   z = f_L ∘ … ∘ f₁(x; c)

A density needs one evaluation of each network; a sample is computed one variable at a time. The inverse autoregressive
flow (iaf.py) is the same stack with forward and inverse exchanged.

Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017, without its batch
normalisation between the layers.
Checked by: tests/models/flows/test_maf.py
"""

from collections.abc import Sequence

import numpy as np

from ...autograd import Parameter
from ...bijections import AffineTransformer, Chain, Flow, MaskedAutoregressive, Transformer
from ...checks import at_least
from ...distributions import StandardNormal
from ...nn.masked import MaskedMLP

Rng = np.random.Generator


class MAF(Flow):
    """Masked autoregressive flow over vectors.

    Args:
        layers: number L of bijections, each with its own network.
        hidden: sizes of the hidden layers of each network.
        transformer: the increasing function τ, by default an `AffineTransformer`; `MixtureCDF` and
            `RationalQuadraticSpline` are more expressive.
        random_orders: draw a random order of the variables for each layer, instead of alternating between 0…dim−1 and
            its reverse.
        context: size of the context vector, 0 for an unconditional density.

    Shapes: x (N, dim); context (N, C), where C is the constructor's `context`; log_prob (N,), in nats per example.

    Example:
        >>> flow = MAF(2, np.random.default_rng(0), context=3)
        >>> flow.log_prob(np.zeros((5, 2)), context=np.ones((5, 3))).shape
        (5,)
    """

    def __init__(
        self,
        dim: int,
        rng: Rng,
        *,
        layers: int = 5,
        hidden: Sequence[int] = (64, 64),
        transformer: Transformer | None = None,
        random_orders: bool = False,
        context: int = 0,
    ) -> None:
        at_least(1, dim=dim, layers=layers)
        tau = transformer or AffineTransformer()
        bijections = []
        for layer in range(layers):
            order = rng.permutation(dim) if random_orders else np.arange(dim)[:: 1 - 2 * (layer % 2)]
            net = MaskedMLP(dim, tau.width, rng, hidden=hidden, orders=[order], context=context)
            net.layers[-1].b = Parameter(np.tile(tau.start(), dim))
            bijections.append(MaskedAutoregressive(net, tau))
        super().__init__(Chain(*bijections), StandardNormal((dim,)))
