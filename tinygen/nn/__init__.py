"""Neural networks: modules, layers, masked layers, initialisers, and the activation cache for sampling."""

from . import init
from .cache import ActivationCache
from .layers import Conv, ConvTranspose, Embedding, Linear, Sequential, dropout
from .masked import MaskedConv, MaskedLinear, MaskedMLP
from .mlp import MLP
from .module import Module
from .recurrent import LSTM

__all__ = [
    "LSTM", "MLP", "ActivationCache", "Conv", "ConvTranspose", "Embedding", "Linear", "MaskedConv", "MaskedLinear",
    "MaskedMLP", "Module", "Sequential", "dropout", "init",
]  # fmt: skip
