"""NICE: additive couplings of vectors, whose only change of volume is the last scaling.

    z = exp(s) ⊙ ((f_K ∘ … ∘ f₁)(x) − m)

Source: Dinh, Krueger & Bengio, "NICE: non-linear independent components estimation", 2015, which has no m.
Checked by: tests/models/flows/test_realnvp.py
"""

from __future__ import annotations

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
    """Additive couplings of vectors (D,), and an `ActNorm` of each number at the end; images are vectors to it.

    Shapes: x (N, *shape), context (N, context); log_prob (N,) in nats per example.
    Raises ValueError, naming the argument, where a setting makes no flow or an input is of another shape.
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
        at_least(2, layers=layers)  # or a half is never changed
        dim = math.prod(shape)
        parts: list[Bijection] = [] if len(shape) == 1 else [Reshape(tuple(shape), (dim,))]
        for i in range(layers):
            cut = Mask(mask, (dim,), flipped=i % 2 == 1)
            n_in, n_out = cut.shapes[0][0], cut.shapes[1][0]
            network = CouplingMLP(n_in, n_out, rng, hidden=hidden, depth=depth, context=context, activation=activation)
            parts.append(AdditiveCoupling(cut, network))
        super().__init__(Chain(*parts, ActNorm(dim)), StandardNormal((dim,)), tuple(shape))
