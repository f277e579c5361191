"""The models of the course, one file each, to be read beside their papers."""

from .pixelcnn import GatedPixelCNN

__all__ = ["GatedPixelCNN"]
