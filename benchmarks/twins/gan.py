"""PyTorch twins of the convolutional generator and critic of a GAN."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.nn.networks.images import ConvDecoder, ImageCritic, ImageGenerator

from .layers import conv, linear


class TorchImageGenerator(nn.Module):
    def __init__(self, net: ImageGenerator) -> None:
        super().__init__()
        decoder = net.layers[0]
        assert isinstance(decoder, ConvDecoder)
        self.coarse, self.first = decoder.coarse, linear(decoder.first)
        self.second, self.last = map(conv, decoder.convs)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(z)).view(-1, *self.coarse).permute(0, 3, 1, 2)  # (N, C, H, W), stored as (N, H, W, C)
        return torch.tanh(self.last(F.relu(self.second(h))))


class TorchImageCritic(nn.Module):
    def __init__(self, net: ImageCritic) -> None:
        super().__init__()
        self.first, self.second = map(conv, net.convs)
        self.last = linear(net.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.2)), 0.2)
        return self.last(h.permute(0, 2, 3, 1).flatten(1))
