"""Glow: steps of actnorm, a learned permutation of channels and a coupling, on several scales.

    step:    x ─ actnorm ─ invertible 1×1 convolution ─ affine coupling by channel ─→
    level:   squeeze ─ step ─ … ─ step ─┬─→ next level
                                        └─→ half of the channels: noise (after the last level, all)

Before training, `initialise` a model with a first batch: every actnorm then starts by normalising what it is given.
The last layer of each coupling's network starts at zero, so a coupling starts as the identity.

Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, figure 2. Other than there,
s is bounded by a tanh as in RealNVP, and the noise is standard normal at every level, without a learned prior.
Checked by: tests/models/flows/test_glow.py
"""

from __future__ import annotations

import math

import numpy as np

from ...autograd import relu
from ...bijections import ActNorm, AffineCoupling, Bijection, Chain, Flow, InvertibleConv, Mask, Squeeze, multi_scale
from ...checks import at_least, check_counts
from ...distributions import StandardNormal
from ...nn.layers import Activation
from ...nn.networks.couplings import GlowNet

Rng = np.random.Generator


class Glow(Flow):
    """A distribution over images (height, width, channels) of real numbers.

    `scales` is the number of levels, the paper's L, and `steps` that of the steps in each, its K.

    Shapes: x (N, *shape), context (N, context); log_prob (N,) in nats per image.
    Raises ValueError, naming the argument, where a setting makes no flow or an input is of another shape: height and
    width must be multiples of 2^scales.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        rng: Rng,
        *,
        scales: int = 2,
        steps: int = 4,
        hidden: int = 64,
        context: int = 0,
        activation: Activation = relu,
    ) -> None:
        check_counts("shape", shape)
        at_least(1, scales=scales, steps=steps, hidden=hidden)
        if len(shape) != 3 or shape[0] % 2**scales or shape[1] % 2**scales:
            raise ValueError(f"shape: expected (H, W, C), H and W multiples of 2^scales = {2**scales}, got {shape}")

        def step(shape: tuple[int, ...]) -> list[Bijection]:
            cut = Mask("channel", shape)
            (*_, n_in), (*_, n_out) = cut.shapes
            network = GlowNet(n_in, 2 * n_out, rng, hidden=hidden, context=context, activation=activation)
            return [ActNorm(shape[-1]), InvertibleConv(shape[-1], rng), AffineCoupling(cut, network)]

        chains, shapes = [], []
        height, breadth, channels = shape
        for level in range(1, scales + 1):
            here = height // 2**level, breadth // 2**level, channels * 2 ** (level + 1)
            chains.append(Chain(Squeeze(), *(part for _ in range(steps) for part in step(here))))
            shapes.append(here)
        super().__init__(multi_scale(chains, shapes), StandardNormal((math.prod(shape),)), tuple(shape))
