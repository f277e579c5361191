"""The models of the course, one file each, to be read beside their papers; what they share is in files of its own."""

from .autoregressive_flow import IAF, MAF
from .ffjord import FFJORD
from .flow_1d import Flow1D
from .gan import GAN
from .gated_pixelcnn import GatedPixelCNN
from .glow import Glow
from .made import MADE
from .pixel_rnn import PixelRNN
from .pixelcnn import PixelCNN
from .realnvp import NICE, RealNVP
from .vae import VAE
from .wavenet import WaveNet

__all__ = [
    "FFJORD",
    "GAN",
    "IAF",
    "MADE",
    "MAF",
    "NICE",
    "VAE",
    "Flow1D",
    "GatedPixelCNN",
    "Glow",
    "PixelCNN",
    "PixelRNN",
    "RealNVP",
    "WaveNet",
]
