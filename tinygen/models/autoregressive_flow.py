"""Autoregressive flows: a stack of masked autoregressive bijections, and the same stack read the other way.

    MAF   ln p(x) in one evaluation of each network,   x ~ p one variable after another
    IAF   x ~ p in one evaluation of each network,     ln p(x) one variable after another

Which of the two is fast is all the difference there is: IAF is the `Inverse` of the bijection that MAF is. Its own
draws are the exception: `draw` returns them with their ln p, both from the one evaluation, which is what a variational
posterior needs.

Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017 (without its batch
normalisation between the layers); Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improving Variational
Inference with Inverse Autoregressive Flow", 2016.
Checked by: tests/models/test_autoregressive_flow.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Array, Parameter
from ..bijections import Chain, Flow, Inverse
from ..bijections.autoregressive import AffineTransformer, BoundedMixtureCDF, MaskedAutoregressive, Transformer
from ..checks import at_least
from ..distributions import StandardNormal
from ..nn.masks import MaskedMLP

Rng = np.random.Generator


class MAF(Flow):
    """A masked autoregressive flow: x (N, dim) to noise through `layers` of them, each with a network of its own.

        ln p(x | c) = ln N(z; 0, I) + Σₗ Σᵢ ln ∂τ/∂xᵢ,   z = fₙ ∘ … ∘ f₁(x; c)

    The order of the variables is 0…dim−1 and its reverse in turns ("reversed"), or drawn anew for each layer
    ("random"). The transformer τ is "affine" or "mixture_cdf", of so many `components`, which stand at equal distances
    within ±3 at first: alike, those of the first variable, which have but biases, would stay alike.

    Shapes: x (N, dim), condition c (N, condition) if that is not 0, log_prob (N,) in nats per example.
    Raises ValueError, naming the argument, if a setting makes no flow or an argument does not fit it.
    """

    def __init__(
        self,
        dim: int,
        rng: Rng,
        *,
        layers: int = 5,
        hidden: Sequence[int] = (64, 64),
        transformer: str = "affine",
        components: int = 8,
        orders: str = "reversed",
        condition: int = 0,
    ) -> None:
        at_least(1, dim=dim, layers=layers)
        tau = _transformer(transformer, components)
        nets = []
        for order in _orders(orders, dim, layers, rng):
            nets.append(MaskedMLP(dim, tau.width, rng, hidden=hidden, orders=[order], condition=condition))
            if isinstance(tau, BoundedMixtureCDF):
                nets[-1].layers[-1].b = Parameter(np.tile(_spread(components), dim))
        super().__init__(Chain(*(MaskedAutoregressive(net, tau) for net in nets)), StandardNormal((dim,)))


class IAF(Flow):
    """An inverse autoregressive flow: the bijection of a MAF, inverted. Arguments, shapes and errors as there."""

    def __init__(self, dim: int, rng: Rng, **settings: Any) -> None:
        maf = MAF(dim, rng, **settings)
        super().__init__(Inverse(maf.bijection), maf.base)


def _transformer(name: str, components: int) -> Transformer:
    if name == "affine":
        return AffineTransformer()
    if name == "mixture_cdf":
        return BoundedMixtureCDF(
            components, noise="normal"
        )  # the base's, so that one layer is a mixture for each variable
    raise ValueError(f"transformer: expected 'affine' or 'mixture_cdf', got {name!r}")


def _spread(components: int) -> Array:
    """Logits, means and ln s of a mixture that covers ±3 evenly, (3K,)."""
    half = 3 / components
    means = np.linspace(half - 3, 3 - half, components)
    return np.concatenate([np.zeros(components), means, np.full(components, math.log(half))])


def _orders(name: str, dim: int, layers: int, rng: Rng) -> list[Array]:
    if name == "reversed":
        return [np.arange(dim)[:: 1 - 2 * (layer % 2)] for layer in range(layers)]
    if name == "random":
        return [rng.permutation(dim) for _ in range(layers)]
    raise ValueError(f"orders: expected 'reversed' or 'random', got {name!r}")
