"""PyTorch samplers that cache activations, as a user would write them: every activation is computed once.

A convolution at one position is a product of the cached activations at its taps with the weights at the taps. `sample`
returns the samples and the logits that they were drawn from, which must be those of the whole network; call it without
recording gradients.
"""

from collections.abc import Callable

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from .layers import TorchConv
from .pixelcnn import TorchGatedPixelCNN, gated_activation
from .wavenet import TorchWaveNet

Samples = tuple[torch.Tensor, torch.Tensor]


def check_logits(x: torch.Tensor, logits: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Raise AssertionError unless the network computes these logits (N, …, levels) from the samples."""
    with torch.no_grad():
        torch.testing.assert_close(network(x), logits, rtol=1e-3, atol=1e-4)


def draw(logits: torch.Tensor) -> torch.Tensor:
    """Sample the values (n,) of one variable from logits (n, levels)."""
    return torch.multinomial(F.softmax(logits, 1), 1)[:, 0]


def matrix(conv: TorchConv) -> torch.Tensor:
    """Return the weights at the taps as one matrix (taps · in, out)."""
    return conv.at_taps(conv.weight.detach()).flatten(0, 1).contiguous()


def linear(conv: TorchConv, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return x @ weights if conv.bias is None else torch.addmm(conv.bias, x, weights)


class WaveNetSampler:
    """Sampling from a WaveNet of dilated convolutions with two taps; each keeps its last inputs in a ring buffer."""

    def __init__(self, net: TorchWaveNet) -> None:
        self.net = net
        self.blocks = [(b, matrix(b.dilated), matrix(b.skip), b.residual and matrix(b.residual)) for b in net.blocks]
        self.ends = [(conv, matrix(conv)) for conv in (net.hidden, net.logits)]
        self.first = matrix(net.first)

    def sample(self, n: int, length: int) -> Samples:
        """Return samples (n, length) and their logits (n, length, levels)."""
        net, channels = self.net, self.net.embedding.shape[1]
        dilations = [block.dilated.options["dilation"][0] for block in net.blocks]
        queues = [torch.zeros(dilation, n, channels) for dilation in dilations]
        x, outputs = torch.empty(n, length, dtype=torch.int64), []
        before = now = torch.zeros(n, channels)  # embeddings of the last two values
        for t in range(length):
            h, skip = linear(net.first, torch.cat([before, now], 1), self.first), torch.zeros(())
            for (block, dilated, to_skip, residual), queue in zip(self.blocks, queues, strict=True):
                old = queue[t % len(queue)]
                z = gated_activation(linear(block.dilated, torch.cat([old, h], 1), dilated))
                queue[t % len(queue)] = h
                skip = skip + linear(block.skip, z, to_skip)
                h = h if residual is None else h + linear(block.residual, z, residual)
            for conv, weights in self.ends:
                skip = linear(conv, F.relu(skip), weights)
            outputs.append(skip)
            x[:, t] = draw(skip)
            before, now = now, net.embedding[x[:, t]]
        return x, torch.stack(outputs, 1)


class GatedPixelCNNSampler:
    """Sampling from a Gated PixelCNN: the vertical stack row by row, the horizontal stack pixel by pixel."""

    def __init__(self, net: TorchGatedPixelCNN) -> None:
        self.net, self.scale = net, 2 / (net.levels - 1)
        names = "to_horizontal", "horizontal", "skip", "residual"
        self.weights = [{name: matrix(c) for name in names if (c := getattr(layer, name))} for layer in net.layers]
        self.ends = [(conv, matrix(conv)) for conv in (net.hidden, net.logits)]

    def sample(self, n: int, height: int, width: int) -> Samples:
        """Return images (n, height, width) and their logits (n, height, width, levels)."""
        layers, x = self.net.layers, torch.empty(n, height, width, dtype=torch.int64)
        outputs: list[torch.Tensor] = []
        # Inputs of the vertical convolutions, with zeros above the image.
        vertical, horizontal = ([getattr(layer, name) for layer in layers] for name in ("vertical", "horizontal"))
        inputs = [torch.zeros(n, c.weight.shape[1], rows_above(c) + height, width) for c in vertical]
        for i in range(height):
            above = self.row(i, inputs)
            # Inputs of the horizontal convolutions in this row, with zeros to the left of the image.
            rows = [torch.zeros(n, pixels_left(c) + width, c.weight.shape[1]) for c in horizontal]
            for j in range(width):
                logits = self.pixel(j, above, rows)
                outputs.append(logits)
                x[:, i, j] = draw(logits)
                value = x[:, i, j] * self.scale - 1
                inputs[0][:, 0, rows_above(vertical[0]) + i, j] = value
                rows[0][:, pixels_left(horizontal[0]) + j, 0] = value
        return x, torch.stack(outputs, 1).view(n, height, width, -1)

    def row(self, i: int, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Evaluate the vertical stack in row i; return the features (n, W, 2C) for the horizontal stack, per layer."""
        features, v = [], None
        for layer, weights, cache in zip(self.net.layers, self.weights, inputs, strict=True):
            conv = layer.vertical
            if v is not None:
                cache[:, :, rows_above(conv) + i] = gated_activation(v)
            window = cache[:, :, i : i + conv.weight.shape[2]]
            v = F.conv2d(window, conv.weight, conv.bias, padding=(0, conv.padding[0]))[:, :, 0]  # (n, 2C, W)
            flat = v.transpose(1, 2).reshape(-1, v.shape[1])
            features.append(linear(layer.to_horizontal, flat, weights["to_horizontal"]).view(len(v), v.shape[2], -1))
        return features

    def pixel(self, j: int, above: list[torch.Tensor], rows: list[torch.Tensor]) -> torch.Tensor:
        """Evaluate the horizontal stack in column j; return the logits (n, levels)."""
        skip, h = torch.zeros(()), None
        for k, (layer, weights) in enumerate(zip(self.net.layers, self.weights, strict=True)):
            taps = layer.horizontal.weight.shape[3]
            if h is not None:
                rows[k][:, pixels_left(layer.horizontal) + j] = h
            window = rows[k][:, j : j + taps].flatten(1)
            z = gated_activation(linear(layer.horizontal, window, weights["horizontal"]) + above[k][:, j])
            skip = skip + linear(layer.skip, z, weights["skip"])
            if layer.residual is not None:
                out = linear(layer.residual, z, weights["residual"])
                h = out if h is None else h + out
        for conv, matrix_of in self.ends:
            skip = linear(conv, F.relu(skip), matrix_of)
        return skip


def rows_above(conv: TorchConv) -> int:
    """Return how many rows above the current one a vertical convolution reads."""
    return conv.padding[2]


def pixels_left(conv: TorchConv) -> int:
    """Return how many pixels to the left of the current one a horizontal convolution reads."""
    return conv.padding[0]
