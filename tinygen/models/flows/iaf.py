"""Inverse autoregressive flow: the bijection of a MAF, read in the other direction.

    x ~ p in one evaluation of each network,     ln p(x) one variable after another

Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improving Variational Inference with Inverse
Autoregressive Flow", 2016.
Checked by: tests/models/flows/test_maf.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...bijections import Flow, Inverse, Transformer
from .maf import MAF

Rng = np.random.Generator


class IAF(Flow):
    """An inverse autoregressive flow: the bijection of a MAF, inverted. Arguments, shapes and errors as there."""

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
        maf = MAF(
            dim,
            rng,
            layers=layers,
            hidden=hidden,
            transformer=transformer,
            random_orders=random_orders,
            context=context,
        )
        super().__init__(Inverse(maf.bijection), maf.base)
