"""PyTorch twin of PixelRNN: the first V − 1 variables, x (N, V−1), to logits (N, V, levels)."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.models import PixelRNN

from .layers import linear, parameter


class TorchPixelRNN(nn.Module):
    """All LSTMs as one nn.LSTM, whose gates have the same order and whose redundant second bias is fixed at zero."""

    def __init__(self, model: PixelRNN) -> None:
        super().__init__()
        features, hidden = model.lstms[0].w.shape[0], model.logits.w.shape[0]
        self.lstm, self.logits = nn.LSTM(features, hidden, len(model.lstms), batch_first=True), linear(model.logits)
        for i, layer in enumerate(model.lstms):
            setattr(self.lstm, f"weight_ih_l{i}", parameter(layer.w.value.T))
            setattr(self.lstm, f"weight_hh_l{i}", parameter(layer.u.value.T))
            setattr(self.lstm, f"bias_ih_l{i}", parameter(layer.b.value))
            redundant = getattr(self.lstm, f"bias_hh_l{i}").requires_grad_(False)
            redundant.zero_()
        self.lstm.flatten_parameters()
        self.coordinates = torch.from_numpy(model.coordinates).float()
        self.levels = model.output.levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        previous = F.pad(x * (2 / (self.levels - 1)) - 1, (1, 0))
        coordinates = self.coordinates[: previous.shape[1]].expand(len(x), -1, -1)
        return self.logits(self.lstm(torch.cat([previous[..., None], coordinates], 2))[0])
