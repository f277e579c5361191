"""Inverse autoregressive flow (IAF): the bijection of a MAF with forward and inverse exchanged.

    x = f_L ∘ … ∘ f₁(z; c),   z ~ N(0, I),   where each f is a masked autoregressive bijection

A sample needs one evaluation of each network; the density of given data is computed one variable at a time. `draw`
returns samples with their ln p(x) from a single evaluation, which is what a variational posterior needs.

Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improved Variational Inference with Inverse
Autoregressive Flow", 2016.
Checked by: tests/models/flows/test_iaf.py
"""

from typing import Any

from ...bijections import Flow, Inverse
from .maf import MAF, Rng


class IAF(Flow):
    """Inverse autoregressive flow over vectors. Shapes are those of `MAF`.

    Args:
        settings: the keyword arguments of `MAF`.

    Example:
        >>> import numpy as np
        >>> x, log_prob = IAF(2, np.random.default_rng(0)).draw(5, np.random.default_rng(1))
        >>> x.shape, log_prob.shape
        ((5, 2), (5,))
    """

    def __init__(self, dim: int, rng: Rng, **settings: Any) -> None:
        maf = MAF(dim, rng, **settings)
        super().__init__(Inverse(maf.bijection), maf.base)
