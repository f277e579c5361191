"""The models of the course, one file each, to be read beside their papers; what they share is in files of its own."""

from .gated_pixelcnn import GatedPixelCNN
from .made import MADE
from .wavenet import WaveNet

__all__ = ["MADE", "GatedPixelCNN", "WaveNet"]
