"""Glow: steps of actnorm, invertible 1×1 convolution and affine coupling, at several scales.

    step:    x ─ actnorm ─ invertible 1×1 convolution ─ affine coupling by channel ─→
    level:   squeeze ─ step ─ … ─ step ─┬─→ next level
                                        └─→ half of the channels: noise (at the last level, all)

Call `initialise` on a first batch before training, so that every actnorm starts by normalising its input. The last
layer of each coupling's network starts at zero, so a coupling starts as the identity.

Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, figure 2. Here s is bounded
by a tanh, as in RealNVP, and the noise is standard normal at every level, without a learned prior.
Checked by: tests/models/flows/test_glow.py
"""

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
    """Glow over real-valued images.

    Args:
        shape: shape of an image, (H, W, C); H and W must be multiples of 2^scales.
        scales: number of levels (L in the paper).
        steps: number of steps per level (K in the paper).
        hidden: number of hidden channels of each network.
        context: size of the context vector, 0 for an unconditional density.

    Shapes: x (N, *shape); context (N, C), where C is the constructor's `context`; log_prob (N,), in nats per image.

    Example:
        >>> flow = Glow((8, 8, 1), np.random.default_rng(0), steps=1, hidden=8)
        >>> flow.sample(3, np.random.default_rng(1)).shape
        (3, 8, 8, 1)
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
            mask = Mask("channel", shape)
            (*_, n_in), (*_, n_out) = mask.shapes
            network = GlowNet(n_in, 2 * n_out, rng, hidden=hidden, context=context, activation=activation)
            return [ActNorm(shape[-1]), InvertibleConv(shape[-1], rng), AffineCoupling(mask, network)]

        chains, shapes = [], []
        height, width, channels = shape
        for level in range(1, scales + 1):
            here = height // 2**level, width // 2**level, channels * 2 ** (level + 1)
            chains.append(Chain(Squeeze(), *(part for _ in range(steps) for part in step(here))))
            shapes.append(here)
        super().__init__(multi_scale(chains, shapes), StandardNormal((math.prod(shape),)), tuple(shape))
