"""RealNVP: affine coupling layers; for images, in a multi-scale architecture.

    z = f_K ∘ … ∘ f₁(x),   each f an affine coupling, the couplings alternating between the two halves of the mask

With a `transformer` other than the affine one, such as a `RationalQuadraticSpline`, it is a neural spline flow.

    level:        couplings in the mask ─ squeeze ─ couplings by channel ─┬─ next level
                                                                          └─ half of the channels: noise
    last level:   couplings in the mask

Both directions cost one pass. Each affine coupling starts as the identity, because the last layer of its network starts
at zero, so before training the density is that of the base distribution.

Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.6. ActNorm replaces its
batch normalisation (call `initialise` on a first batch), and masks split the tensor, see `Mask`.
Checked by: tests/models/flows/test_realnvp.py
"""

import math

import numpy as np

from ...autograd import Parameter, relu
from ...bijections import (
    ActNorm,
    AffineCoupling,
    Bijection,
    Chain,
    Coupling,
    Flow,
    Mask,
    Squeeze,
    Transformer,
    multi_scale,
)
from ...checks import at_least, check_counts, require
from ...distributions import StandardNormal
from ...nn.layers import Activation
from ...nn.networks.couplings import CouplingMLP, ResidualNet

Rng = np.random.Generator
Shape = tuple[int, ...]


class RealNVP(Flow):
    """RealNVP over vectors (fully connected networks) or images (residual networks).

    Args:
        shape: shape of an event, (D,) or (H, W, C).
        mask: "checkerboard", "channel" or "half", see `Mask`.
        layers: number of couplings per stage, each followed by an `ActNorm`.
        scales: number of levels; H and W must be multiples of 2^(scales − 1), or of 2^scales for a checkerboard, and H
            for "half".
        hidden: number of hidden units or channels of each network.
        depth: number of hidden layers or residual blocks of each network.
        context: size of the context vector, 0 for an unconditional density.
        transformer: the increasing function of each coupling; by default affine, see `AffineCoupling`.

    Shapes: x (N, *shape); context (N, C), where C is the constructor's `context`; log_prob (N,), in nats per example.

    Example:
        >>> flow = RealNVP((8, 8, 1), np.random.default_rng(0), scales=2, hidden=8)
        >>> flow.log_prob(np.zeros((5, 8, 8, 1))).shape
        (5,)
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
        transformer: Transformer | None = None,
    ) -> None:
        check_counts("shape", shape)
        at_least(2, layers=layers)
        at_least(1, scales=scales)
        require(scales == 1 or len(shape) == 3, "scales", f"1 for the shape {shape}", scales)
        multiple = 2 ** (scales - 1)
        if scales > 1 and any(length % multiple for length in shape[:2]):
            raise ValueError(f"shape: expected H and W multiples of 2^(scales − 1) = {multiple}, got {shape}")

        def coupling(mask: Mask) -> Bijection:
            first, second = (part[:-1] for part in mask.shapes)
            require(first == second, "shape", f"an even height at every scale for the mask {mask.name!r}", shape)
            kind = CouplingMLP if len(mask.shape) == 1 else ResidualNet
            (*_, n_in), (*_, channels) = mask.shapes
            n_out = channels * (2 if transformer is None else transformer.width)
            network = kind(n_in, n_out, rng, hidden=hidden, depth=depth, context=context, activation=activation)
            if transformer is None:
                return AffineCoupling(mask, network)
            network.last.b = Parameter(np.tile(transformer.start(), channels))
            return Coupling(mask, network, transformer)

        def stage(name: str, shape: Shape) -> list[Bijection]:
            masks = [Mask(name, shape, flipped=i % 2 == 1) for i in range(layers)]
            return [part for mask in masks for part in (coupling(mask), ActNorm(shape[-1]))]

        if scales == 1:
            super().__init__(Chain(*stage(mask, shape)), StandardNormal(tuple(shape)))
            return
        chains, shapes, level = [], [], tuple(shape)
        for _ in range(scales - 1):
            squeezed = level[0] // 2, level[1] // 2, 4 * level[2]
            chains.append(Chain(*stage(mask, level), Squeeze(), *stage("channel", squeezed)))
            shapes.append(squeezed)
            level = (*squeezed[:2], squeezed[2] // 2)
        chains.append(Chain(*stage(mask, level)))
        super().__init__(multi_scale(chains, [*shapes, level]), StandardNormal((math.prod(shape),)), tuple(shape))
