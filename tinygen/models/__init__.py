"""The models of the course, one file each, to be read beside their papers; what they share is in files of its own."""

from .gated_pixelcnn import GatedPixelCNN

__all__ = ["GatedPixelCNN"]
