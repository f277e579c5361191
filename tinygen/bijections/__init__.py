"""Bijections with their log-determinants, and flows, which are a bijection and a base distribution."""

from .autoregressive import AffineTransformer, MaskedAutoregressive
from .bijection import Bijection, Chain, Inverse
from .elementwise import Affine, Logit
from .flow import Base, Flow
from .permute import Permute, Reshape, Reverse

__all__ = [
    "Affine",
    "AffineTransformer",
    "Base",
    "Bijection",
    "Chain",
    "Flow",
    "Inverse",
    "Logit",
    "MaskedAutoregressive",
    "Permute",
    "Reshape",
    "Reverse",
]
