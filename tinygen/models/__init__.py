"""Generative models, one file per model; the subpackages are the chapters of a course."""

from .adversarial.gan import GAN
from .autoregressive.gated_pixelcnn import GatedPixelCNN
from .autoregressive.made import MADE
from .autoregressive.pixel_rnn import PixelRNN
from .autoregressive.pixelcnn import PixelCNN
from .autoregressive.wavenet import WaveNet
from .flows.ffjord import FFJORD
from .flows.flow_1d import Flow1D
from .flows.glow import Glow
from .flows.iaf import IAF
from .flows.maf import MAF
from .flows.nice import NICE
from .flows.realnvp import RealNVP
from .latent.vae import VAE

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
