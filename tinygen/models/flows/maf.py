"""Autoregressive flows: a stack of masked autoregressive bijections, and the same stack read the other way.

    MAF   ln p(x) in one evaluation of each network,   x ~ p one variable after another
    IAF   x ~ p in one evaluation of each network,     ln p(x) one variable after another

Which of the two is fast is all the difference there is: IAF is the `Inverse` of the bijection that MAF is. Its own
draws are the exception: `draw` returns them with their ln p, both from the one evaluation, which is what a variational
posterior needs.

Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017 (without its batch
normalisation between the layers); Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improving Variational
Inference with Inverse Autoregressive Flow", 2016.
Checked by: tests/models/flows/test_maf.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...autograd import Parameter
from ...bijections import AffineTransformer, Chain, Flow, MaskedAutoregressive, Transformer
from ...checks import at_least
from ...distributions import StandardNormal
from ...nn.masked import MaskedMLP

Rng = np.random.Generator


class MAF(Flow):
    """A masked autoregressive flow: x (N, dim) to noise through `layers` of them, each with a network of its own.

        ln p(x | c) = ln N(z; 0, I) + Σₗ Σᵢ ln ∂τ/∂xᵢ,   z = fₙ ∘ … ∘ f₁(x; c)

    The order of the variables is 0…dim−1 and its reverse in turns or, of `random_orders`, drawn anew for each layer.
    The transformer τ is affine unless another is given, such as a `MixtureCDF`.

    Shapes: x (N, dim), context c (N, context) if that is not 0, log_prob (N,) in nats per example.
    Raises ValueError, naming the argument, if a setting makes no flow or an argument does not fit it.
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
