"""NICE and RealNVP: flows of couplings, in which every half takes its turn in being changed.

    NICE       z = exp(s) ⊙ ((f_K ∘ … ∘ f₁)(x) − m)  additive couplings, a volume changed only by the last scaling
    RealNVP    z = (f_K ∘ … ∘ f₁)(x)                 affine couplings; images on several scales

Both directions cost one pass, so they are as fast to sample as to train. A coupling starts as the identity, since the
last layer of its network starts at zero; a flow is the base distribution until it is initialised or trained.

    level of RealNVP:   couplings in the mask, alternating ─ squeeze ─ couplings by channel, alternating ─┬─ next level
                                                                                                          └─ half: noise
    last level:         couplings in the mask

Source: Dinh, Krueger & Bengio, "NICE: non-linear independent components estimation", 2015; Dinh, Sohl-Dickstein &
Bengio, "Density estimation using Real NVP", 2017, section 3.6. NICE's paper has no m. In place of RealNVP's batch
normalisation stand actnorms (`initialise` sets them by data), and a checkerboard is cut out, see `Mask`.
Checked by: tests/models/flows/test_realnvp.py
"""

from __future__ import annotations

import math

import numpy as np

from ...autograd import relu
from ...bijections import ActNorm, AffineCoupling, Bijection, Chain, Flow, Mask, Squeeze, multi_scale
from ...checks import at_least, check_counts
from ...distributions import StandardNormal
from ...nn.layers import Activation
from ...nn.networks.couplings import CouplingMLP, ResidualNet

Rng = np.random.Generator
Shape = tuple[int, ...]


class RealNVP(Flow):
    """Affine couplings of vectors (D,), by fully connected networks, or of images (H, W, C), by residual ones.

    `layers` couplings alternate in each stage, each followed by an actnorm. With `scales` = 1 there is one stage, in
    `mask` ("checkerboard", "channel" or "half"); with more, images are squeezed and half of the channels leave after
    each level but the last. `depth` is the number of hidden layers, or of residual blocks.

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
        scales: int = 1,
        hidden: int = 64,
        depth: int = 2,
        context: int = 0,
        activation: Activation = relu,
    ) -> None:
        check_counts("shape", shape)
        at_least(2, layers=layers)
        at_least(1, scales=scales)
        if scales > 1 and len(shape) != 3:
            raise ValueError(f"scales: expected 1 for vectors, got {scales} for shape {shape}")
        if scales > 1 and any(length % 2 ** (scales - 1) for length in shape[:2]):
            raise ValueError(f"shape: expected H and W multiples of 2^(scales − 1) = {2 ** (scales - 1)}, got {shape}")

        def stage(name: str, shape: Shape) -> list[Bijection]:
            parts: list[Bijection] = []
            for i in range(layers):
                cut = Mask(name, shape, flipped=i % 2 == 1)
                kind = CouplingMLP if len(shape) == 1 else ResidualNet
                n_in, n_out = cut.shapes[0][-1], 2 * cut.shapes[1][-1]
                network = kind(n_in, n_out, rng, hidden=hidden, depth=depth, context=context, activation=activation)
                parts += [AffineCoupling(cut, network), ActNorm(shape[-1])]
            return parts

        if scales == 1:
            super().__init__(Chain(*stage(mask, shape)), StandardNormal(tuple(shape)))
            return
        chains, shapes, here = [], [], tuple(shape)
        for _ in range(scales - 1):
            squeezed = here[0] // 2, here[1] // 2, 4 * here[2]
            chains.append(Chain(*stage(mask, here), Squeeze(), *stage("channel", squeezed)))
            shapes.append(squeezed)
            here = (*squeezed[:2], squeezed[2] // 2)
        chains.append(Chain(*stage(mask, here)))
        super().__init__(multi_scale(chains, [*shapes, here]), StandardNormal((math.prod(shape),)), tuple(shape))
