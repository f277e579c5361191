"""PyTorch twins of PixelCNN and Gated PixelCNN, for one channel: x (N, 1, H, W) to logits (N, levels, H, W)."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.models import GatedPixelCNN, PixelCNN
from tinygen.models.autoregressive.gated_pixelcnn import GatedLayer
from tinygen.models.autoregressive.pixelcnn import Block
from tinygen.nn import Conv
from tinygen.nn.masked import MaskedLinear

from .layers import TorchConv, conv


def gated_activation(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class TorchGatedLayer(nn.Module):
    def __init__(self, layer: GatedLayer) -> None:
        super().__init__()
        self.first = layer.first
        self.vertical, self.horizontal = conv(layer.vertical), conv(layer.horizontal)
        self.to_horizontal, self.skip = conv(layer.to_horizontal), conv(layer.skip)
        self.residual = conv(layer.residual) if layer.residual else None

    def forward(self, v: torch.Tensor, h: torch.Tensor, skip: torch.Tensor | float) -> tuple[torch.Tensor, ...]:
        v = self.vertical(v if self.first else gated_activation(v))
        features = gated_activation(self.horizontal(h) + self.to_horizontal(v))
        skip = skip + self.skip(features)
        if self.residual is not None:
            h = self.residual(features) if self.first else h + self.residual(features)
        return v, h, skip


class TorchGatedPixelCNN(nn.Module):
    def __init__(self, model: GatedPixelCNN) -> None:
        super().__init__()
        self.levels = model.output.levels
        self.layers = nn.ModuleList(map(TorchGatedLayer, model.layers))
        self.hidden, self.logits = conv(model.hidden), conv(model.logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x * (2 / (self.levels - 1)) - 1
        v, h, skip = image, image, 0.0
        for layer in self.layers:
            v, h, skip = layer(v, h, skip)
        return self.logits(F.relu(self.hidden(F.relu(skip))))


def masked_conv(earlier: Conv, centre: MaskedLinear | None) -> TorchConv:
    """Return a masked convolution whose kernel omits the rows below the pixel, which are fully masked."""
    w, taps, bias = earlier.w.value, earlier.taps, earlier.b if centre is None else centre.b
    if centre is not None:
        w, taps = np.concatenate([w, centre.w.value[None]]), (*taps, (0, 0))
    reach = -earlier.taps[0][0]
    assert bias is not None
    return TorchConv(w, bias.value, taps, window=((-reach, -reach), (0, reach)), masked=True)


def pointwise(layer: MaskedLinear) -> TorchConv:
    """Return a MaskedLinear as a 1×1 convolution; with one channel, its mask is all ones."""
    assert layer.b is not None
    return TorchConv(layer.w.value[None], layer.b.value, ((0, 0),))


class TorchBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.reduce, self.expand = pointwise(block.reduce), pointwise(block.expand)
        self.masked = masked_conv(block.conv.earlier, block.conv.centre)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.expand(F.relu(self.masked(F.relu(self.reduce(F.relu(h))))))


class TorchPixelCNN(nn.Module):
    def __init__(self, model: PixelCNN) -> None:
        super().__init__()
        self.levels, self.first = model.output.levels, masked_conv(model.earlier, None)
        self.blocks = nn.Sequential(*map(TorchBlock, model.blocks))
        self.hidden, self.last = pointwise(model.hidden), pointwise(model.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.blocks(self.first(x * (2 / (self.levels - 1)) - 1))
        return self.last(F.relu(self.hidden(F.relu(h))))
