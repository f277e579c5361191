"""PyTorch twins of layers: linear, masked linear, convolutions, multilayer perceptrons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.nn.made_masks import made_masks
from tinygen.nn.masked import MaskedMLP

Offsets = Sequence[tuple[int, ...]]


def parameter(array: np.ndarray) -> nn.Parameter:
    """Return a copy of the array as a parameter."""
    return nn.Parameter(torch.from_numpy(array.copy(order="C")))


def linear(layer: Any) -> nn.Linear:
    """Return the twin of a Linear, or of a MaskedLinear ignoring its mask."""
    twin = nn.Linear(*layer.w.shape, bias=layer.b is not None)
    twin.weight = parameter(layer.w.value.T)
    if layer.b is not None:
        twin.bias = parameter(layer.b.value)
    return twin


def mlp(net: Any, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return the twin of an MLP or a CouplingMLP."""
    hidden = [part for layer in net.layers for part in (linear(layer), activation())]
    return nn.Sequential(*hidden, linear(net.last))


class TorchMaskedLinear(nn.Module):
    """y = x (w ⊙ mask)ᵀ + b"""

    def __init__(self, layer: Any, mask: np.ndarray) -> None:
        super().__init__()
        self.weight, self.bias = parameter(layer.w.value.T), parameter(layer.b.value)
        self.register_buffer("mask", torch.from_numpy(mask.T.astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def masked_mlp(net: MaskedMLP) -> nn.Sequential:
    """Return the twin of a MaskedMLP with one order and ReLUs."""
    parts: list[nn.Module] = []
    for layer, mask in zip(net.layers, made_masks(net.degrees[0], net.width), strict=True):
        parts += [TorchMaskedLinear(layer, mask), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class TorchConv(nn.Module):
    """A convolution in 1-D or 2-D whose rectangular kernel has weights w (taps, n_in, n_out) at the taps, else zeros.

    Args:
        window: first and last offset of the kernel along each axis; by default the smallest that contains all taps.
        masked: multiply the kernel by its mask at every call, so that its zeros stay zero in training.
    """

    def __init__(
        self,
        w: np.ndarray,
        b: np.ndarray | None,
        taps: Offsets,
        stride: int = 1,
        transposed: bool = False,
        window: tuple[Sequence[int], Sequence[int]] | None = None,
        masked: bool = False,
    ) -> None:
        super().__init__()
        offsets = np.array(taps)  # (taps, axes)
        first, last = map(np.array, window or (offsets.min(0), offsets.max(0)))
        dilation = tuple(_spacing(column) for column in offsets.T)
        self.tap_index = tuple(((offsets - first) // dilation).T)  # index of each tap in the kernel
        kernel, mask = np.zeros((2, *(last - first) // dilation + 1, *w.shape[1:]), w.dtype)
        kernel[self.tap_index], mask[self.tap_index] = w, 1
        # (…, a, b) → (b, a, …): (out, in, …) of a convolution, and (in, out, …) of a transposed one.
        self.weight = parameter(np.moveaxis(kernel, (-1, -2), (0, 1)))
        self.bias = None if b is None else parameter(b)
        self.register_buffer("mask", torch.from_numpy(np.moveaxis(mask, (-1, -2), (0, 1)).copy()) if masked else None)
        self.options: dict[str, Any] = {"stride": stride, "dilation": dilation}
        self.padding: list[int] = []  # before and after, from the last axis to the first; negative values crop
        if stride > 1 or (first == -last).all():
            self.options["padding"] = tuple(int(-offset) for offset in first)
        else:
            self.padding = [int(size) for pair in zip(-first[::-1], last[::-1], strict=True) for size in pair]
        self.conv = F.conv_transpose2d if transposed else (F.conv1d, F.conv2d)[len(first) - 1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, self.padding) if self.padding else x
        return self.conv(x, self.weight if self.mask is None else self.weight * self.mask, self.bias, **self.options)

    def at_taps(self, kernel: torch.Tensor) -> torch.Tensor:
        """Return the entries of a kernel (of the weight's shape) at the taps, (taps, n_in, n_out)."""
        return kernel.movedim((1, 0), (-2, -1))[self.tap_index]


def conv(layer: Any) -> TorchConv:
    """Return the twin of a Conv or a ConvTranspose."""
    b = None if layer.b is None else layer.b.value
    return TorchConv(layer.w.value, b, layer.taps, layer.stride, layer.transposed)


def _spacing(positions: np.ndarray) -> int:
    distinct = np.unique(positions)
    return int(np.diff(distinct).min()) if len(distinct) > 1 else 1
