"""PyTorch twin of WaveNet: codes x (N, T) to logits (N, levels, T)."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.models import WaveNet
from tinygen.models.autoregressive.wavenet import Block

from .layers import conv, parameter
from .pixelcnn import gated_activation


class TorchBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.dilated, self.skip = conv(block.dilated), conv(block.skip)
        self.residual = conv(block.residual) if block.residual else None

    def forward(self, h: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = gated_activation(self.dilated(h))
        return h if self.residual is None else h + self.residual(z), skip + self.skip(z)


class TorchWaveNet(nn.Module):
    def __init__(self, model: WaveNet) -> None:
        super().__init__()
        self.embedding = parameter(model.embedding.w.value)
        self.first, self.hidden, self.logits = map(conv, (model.first, model.hidden, model.logits))
        self.blocks = nn.ModuleList(map(TorchBlock, model.blocks))

    def forward(self, x: torch.Tensor, only_last: bool = False) -> torch.Tensor:
        """Return logits of every time step, or only of the last: (N, levels, 1)."""
        h, skip = self.first(F.embedding(x, self.embedding).transpose(1, 2)), torch.zeros(())
        for block in self.blocks:
            h, skip = block(h, skip)
        skip = skip[:, :, -1:] if only_last else skip
        return self.logits(F.relu(self.hidden(F.relu(skip))))
