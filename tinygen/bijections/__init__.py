"""Bijections with their log-determinants, and flows, which are a bijection and a base distribution."""

from .bijection import Bijection, Chain, Inverse
from .elementwise import Affine, Logit
from .flow import Base, Flow
from .permute import Permute, Reshape, Reverse

__all__ = ["Affine", "Base", "Bijection", "Chain", "Flow", "Inverse", "Logit", "Permute", "Reshape", "Reverse"]
