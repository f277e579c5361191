"""Bijections with log-determinants, and flows: a bijection and a base distribution."""

from .actnorm import ActNorm
from .bijection import Bijection, Chain, Inverse
from .continuous import ContinuousFlow
from .coupling import AdditiveCoupling, AffineCoupling, Coupling
from .coupling_masks import Mask
from .dequantize import Dequantized
from .elementwise import Affine, Logit
from .flow import Flow
from .invertible_conv import InvertibleConv
from .masked_autoregressive import MaskedAutoregressive
from .permute import Permute, Reshape
from .rational_quadratic import RationalQuadraticSpline
from .squeeze import FactorOut, Squeeze, multi_scale
from .transformers import AffineTransformer, MixtureCDF, Transformer

__all__ = [
    "ActNorm", "AdditiveCoupling", "Affine", "AffineCoupling", "AffineTransformer", "Bijection", "Chain",
    "ContinuousFlow", "Coupling", "Dequantized", "FactorOut", "Flow", "Inverse", "InvertibleConv", "Logit", "Mask",
    "MaskedAutoregressive", "MixtureCDF", "Permute", "RationalQuadraticSpline", "Reshape", "Squeeze", "Transformer",
    "multi_scale",
]  # fmt: skip
