"""NICE: additive coupling layers, followed by a learned scaling.

    z = exp(s) ⊙ (f_K ∘ … ∘ f₁(x) − m),   ln|det ∂z/∂x| = Σ s

Additive couplings preserve volume, so the scaling is the only source of the log-determinant. The couplings alternate
between the two halves of the mask, and each starts as the identity. Both directions cost one pass.

Source: Dinh, Krueger & Bengio, "NICE: non-linear independent components estimation", 2015, where m = 0.
Checked by: tests/models/flows/test_nice.py
"""

import math

import numpy as np

from ...autograd import relu
from ...bijections import ActNorm, AdditiveCoupling, Bijection, Chain, Flow, Mask, Reshape
from ...checks import at_least, check_counts
from ...distributions import StandardNormal
from ...nn.layers import Activation
from ...nn.networks.couplings import CouplingMLP

Rng = np.random.Generator
Shape = tuple[int, ...]


class NICE(Flow):
    """NICE over vectors; images are flattened.

    Args:
        mask: "checkerboard" (even and odd indices) or "half", see `Mask`.
        layers: number K of couplings.
        hidden, depth: width and number of the hidden layers of each network.
        context: size of the context vector, 0 for an unconditional density.

    Shapes: x (N, *shape); context (N, C), where C is the constructor's `context`; log_prob (N,), in nats per example.

    Example:
        >>> flow = NICE((8, 8, 1), np.random.default_rng(0))
        >>> flow.sample(3, np.random.default_rng(1)).shape
        (3, 8, 8, 1)
    """

    def __init__(
        self,
        shape: Shape,
        rng: Rng,
        *,
        mask: str = "checkerboard",
        layers: int = 4,
        hidden: int = 64,
        depth: int = 2,
        context: int = 0,
        activation: Activation = relu,
    ) -> None:
        check_counts("shape", shape)
        at_least(2, layers=layers)  # a single coupling transforms only one half
        dim = math.prod(shape)
        parts: list[Bijection] = [] if len(shape) == 1 else [Reshape(tuple(shape), (dim,))]
        for i in range(layers):
            halves = Mask(mask, (dim,), flipped=i % 2 == 1)
            (n_in,), (n_out,) = halves.shapes
            network = CouplingMLP(n_in, n_out, rng, hidden=hidden, depth=depth, context=context, activation=activation)
            parts.append(AdditiveCoupling(halves, network))
        super().__init__(Chain(*parts, ActNorm(dim)), StandardNormal((dim,)), tuple(shape))
