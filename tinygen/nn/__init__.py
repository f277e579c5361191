"""Neural networks: modules that are plain data, initialisers, layers."""

from . import init
from .layers import Conv, ConvTranspose, Embedding, LayerNorm, Linear, Sequential, dropout
from .module import Module

__all__ = ["Conv", "ConvTranspose", "Embedding", "LayerNorm", "Linear", "Module", "Sequential", "dropout", "init"]
