"""PyTorch twins of bijections and flows. Images are (N, C, H, W), vectors (N, D).

`forward(x)` returns z and the log-determinant, `inverse(z)` returns only x, since sampling needs no log-determinant.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen import bijections
from tinygen.bijections.coupling import CouplingLayer
from tinygen.models.flows.flow_1d import LearnedCDF
from tinygen.nn.networks.couplings import CouplingMLP, GlowNet, ResidualNet

from .ffjord import TorchContinuousFlow
from .flow_1d import TorchLearnedCDF
from .layers import conv, masked_mlp, mlp, parameter
from .splines import TorchSpline

Pair = tuple[torch.Tensor, torch.Tensor]
LogDet: TypeAlias = torch.Tensor | float


class TorchFlow(nn.Module):
    def __init__(self, flow: bijections.Flow) -> None:
        super().__init__()
        self.bijection = twin_of(flow.bijection)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        z, log_det = self.bijection(x)
        z = z.flatten(1)
        return -0.5 * (z * z).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + log_det


class TorchChain(nn.Module):
    def __init__(self, chain: bijections.Chain) -> None:
        super().__init__()
        self.parts = nn.ModuleList(map(twin_of, chain.bijections))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, LogDet]:
        total: LogDet = 0.0
        for part in self.parts:
            x, log_det = part(x)
            total = total + log_det
        return x, total

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        for part in reversed(self.parts):
            z = part.inverse(z)
        return z


class TorchResidualNet(nn.Module):
    def __init__(self, net: ResidualNet) -> None:
        super().__init__()
        self.first, self.last = conv(net.first), conv(net.last)
        self.blocks = nn.ModuleList(nn.ModuleList(map(conv, block)) for block in net.blocks)

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        h = self.first(a)
        for inner, outer in self.blocks:
            h = h + outer(F.relu(inner(F.relu(h))))
        return self.last(F.relu(h))


def glow_net(net: GlowNet) -> nn.Sequential:
    return nn.Sequential(conv(net.first), nn.ReLU(), conv(net.middle), nn.ReLU(), conv(net.last))


class TorchCoupling(nn.Module):
    """An affine or additive coupling."""

    def __init__(self, coupling: CouplingLayer) -> None:
        super().__init__()
        self.mask, self.net = coupling.mask, twin_of(coupling.network)
        self.w = parameter(coupling.w.value) if isinstance(coupling, bijections.AffineCoupling) else None

    def split(self, x: torch.Tensor) -> Pair:
        mask = self.mask
        if mask.name != "checkerboard":
            at = mask.at
            a, b = (x[:, :, :at], x[:, :, at:]) if mask.name == "half" and x.ndim == 4 else (x[:, :at], x[:, at:])
        elif x.ndim == 2:
            a, b = x[:, ::2], x[:, 1::2]
        else:
            a = torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1)
            b = torch.cat([x[:, :, ::2, 1::2], x[:, :, 1::2, ::2]], 1)
        return (b, a) if mask.flipped else (a, b)

    def merge(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        mask = self.mask
        a, b = (b, a) if mask.flipped else (a, b)
        if mask.name != "checkerboard":
            return torch.cat([a, b], 2 if mask.name == "half" and a.ndim == 4 else 1)
        if a.ndim == 2:
            return torch.stack([a, b], 2).flatten(1)
        n, channels, height, width = len(a), a.shape[1] // 2, a.shape[2], a.shape[3]
        (a1, a2), (b1, b2) = a.chunk(2, 1), b.chunk(2, 1)
        rows = [torch.stack(row, -1).reshape(n, channels, height, 2 * width) for row in ([a1, b1], [b2, a2])]
        return torch.stack(rows, 3).reshape(n, channels, 2 * height, 2 * width)

    def scale_and_shift(self, a: torch.Tensor) -> Pair:
        s, t = self.net(a).chunk(2, 1)
        return self.w.view(-1, *[1] * (s.ndim - 2)) * torch.tanh(s), t  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, LogDet]:
        a, b = self.split(x)
        if self.w is None:
            return self.merge(a, b + self.net(a)), 0.0
        s, t = self.scale_and_shift(a)
        return self.merge(a, b * torch.exp(s) + t), s.flatten(1).sum(1)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        a, b = self.split(z)
        if self.w is None:
            return self.merge(a, b - self.net(a))
        s, t = self.scale_and_shift(a)
        return self.merge(a, (b - t) * torch.exp(-s))


class TorchSplineCoupling(TorchCoupling):
    """A coupling of vectors with a rational-quadratic spline."""

    def __init__(self, coupling: bijections.Coupling) -> None:
        super().__init__(coupling)
        self.spline = TorchSpline(coupling.transformer)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> Pair:
        a, b = self.split(x)
        z, log_slope = self.spline.forward(b, self.net(a).view(*b.shape, -1))
        return self.merge(a, z), log_slope.sum(1)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        a, b = self.split(z)
        return self.merge(a, self.spline.inverse(b, self.net(a).view(*b.shape, -1)))


class TorchActNorm(nn.Module):
    def __init__(self, norm: bijections.ActNorm) -> None:
        super().__init__()
        self.m, self.s = parameter(norm.m.value), parameter(norm.s.value)

    def forward(self, x: torch.Tensor) -> Pair:
        shape = (-1, *[1] * (x.ndim - 2))
        return (x - self.m.view(shape)) * torch.exp(self.s).view(shape), self.s.sum() * math.prod(x.shape[2:])

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        shape = (-1, *[1] * (z.ndim - 2))
        return z * torch.exp(-self.s).view(shape) + self.m.view(shape)


class TorchInvertibleConv(nn.Module):
    def __init__(self, layer: bijections.InvertibleConv) -> None:
        super().__init__()
        self.lower, self.upper, self.log_s = (parameter(p.value) for p in (layer.lower, layer.upper, layer.log_s))
        self.sign, self.order = torch.from_numpy(layer.sign.copy()), torch.from_numpy(layer.order.copy())

    def matrix(self) -> torch.Tensor:
        lower = torch.tril(self.lower, -1) + torch.eye(len(self.order))
        return lower[self.order] @ (torch.triu(self.upper, 1) + torch.diag(self.sign * torch.exp(self.log_s)))

    def forward(self, x: torch.Tensor) -> Pair:
        return F.conv2d(x, self.matrix().T[:, :, None, None]), self.log_s.sum() * math.prod(x.shape[2:])

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return F.conv2d(z, torch.linalg.inv(self.matrix()).T[:, :, None, None])


class TorchSqueeze(nn.Module):
    """2×2 pixels to 4 channels, in the same channel order as tinygen's Squeeze."""

    def __init__(self, _: bijections.Squeeze) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2), 0.0

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        n, c, h, w = z.shape
        return z.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


class TorchReshape(nn.Module):
    """A reshape of images to vectors."""

    def __init__(self, reshape: bijections.Reshape) -> None:
        super().__init__()
        self.height, self.width, self.channels = reshape.data

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        return x.flatten(1), 0.0

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z.reshape(-1, self.channels, self.height, self.width)


class TorchFactorOut(nn.Module):
    def __init__(self, out: bijections.FactorOut) -> None:
        super().__init__()
        self.half, self.rest = out.half, twin_of(out.rest)

    def forward(self, x: torch.Tensor) -> Pair:
        a, b = x.chunk(2, 1)
        z, log_det = self.rest(b)
        return torch.cat([a.flatten(1), z], 1), log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        a, noise = z.chunk(2, 1)
        height, width, channels = self.half
        return torch.cat([a.reshape(-1, channels, height, width), self.rest.inverse(noise)], 1)


class TorchAutoregressive(nn.Module):
    """An affine autoregressive bijection. The inverse evaluates the whole network once per variable."""

    def __init__(self, bijection: bijections.MaskedAutoregressive) -> None:
        super().__init__()
        net, self.bound = bijection.net, bijection.transformer.bound  # type: ignore[attr-defined]
        self.order, self.shape = [int(i) for i in net.order()], (-1, net.variables, net.width)
        self.net = masked_mlp(net)

    def scale_and_shift(self, x: torch.Tensor) -> Pair:
        s, t = self.net(x).view(self.shape).unbind(2)
        return self.bound * torch.tanh(s / self.bound), t

    def forward(self, x: torch.Tensor) -> Pair:
        s, t = self.scale_and_shift(x)
        return x * torch.exp(s) + t, s.sum(1)

    def inverse_and_log_det(self, z: torch.Tensor) -> Pair:
        columns, log_det = [torch.zeros(len(z))] * z.shape[1], torch.zeros(len(z))
        for i in self.order:
            s, t = self.scale_and_shift(torch.stack(columns, 1))
            columns[i], log_det = (z[:, i] - t[:, i]) * torch.exp(-s[:, i]), log_det - s[:, i]
        return torch.stack(columns, 1), log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self.inverse_and_log_det(z)[0]


class TorchInverse(nn.Module):
    """The inverse of a chain of autoregressive bijections."""

    def __init__(self, inverse: bijections.Inverse) -> None:
        super().__init__()
        self.chain = twin_of(inverse.bijection)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, LogDet]:
        total: LogDet = 0.0
        for part in reversed(self.chain.parts):
            x, log_det = part.inverse_and_log_det(x)
            total = total + log_det
        return x, total

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self.chain(z)[0]


_TWINS: dict[type, Callable[[Any], nn.Module]] = {
    bijections.ActNorm: TorchActNorm,
    bijections.AdditiveCoupling: TorchCoupling,
    bijections.AffineCoupling: TorchCoupling,
    bijections.Chain: TorchChain,
    bijections.Coupling: TorchSplineCoupling,
    bijections.ContinuousFlow: TorchContinuousFlow,
    CouplingMLP: mlp,
    bijections.FactorOut: TorchFactorOut,
    GlowNet: glow_net,
    bijections.Inverse: TorchInverse,
    bijections.InvertibleConv: TorchInvertibleConv,
    LearnedCDF: TorchLearnedCDF,
    bijections.MaskedAutoregressive: TorchAutoregressive,
    bijections.Reshape: TorchReshape,
    ResidualNet: TorchResidualNet,
    bijections.Squeeze: TorchSqueeze,
}


def twin_of(part: Any) -> Any:
    """Return the twin of a bijection, or of the network of a coupling."""
    return _TWINS[type(part)](part)
