"""PyTorch twin of couplings with rational-quadratic splines."""

from typing import TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.bijections import RationalQuadraticSpline

Tensor: TypeAlias = torch.Tensor


class TorchSpline:
    """The spline in PyTorch's operations, with the same form of the inverse."""

    def __init__(self, spline: RationalQuadraticSpline) -> None:
        self.bins, self.bound, self.least = spline.bins, spline.bound, spline.minimum
        self.one = float(torch.tensor(1 - self.least, dtype=torch.float64).expm1().log())

    def knots(self, parameters: Tensor) -> Tensor:
        """Return x, y and the slope of the knots, (…, 3, K + 1)."""
        logits = parameters[..., : 2 * self.bins].unflatten(-1, (2, self.bins))
        fractions = self.least + (1 - self.bins * self.least) * F.softmax(logits, -1)
        inner = 2 * self.bound * fractions[..., :-1].cumsum(-1) - self.bound
        at = F.pad(F.pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)
        slopes = F.pad(self.least + F.softplus(parameters[..., 2 * self.bins :] + self.one), (1, 1), value=1.0)
        return torch.cat([at, slopes[..., None, :]], -2)

    def place(self, x: Tensor, parameters: Tensor, row: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return where x is outside the interval, x inside it, and x, y and the slopes at both knots of its bin."""
        knots, outside = self.knots(parameters), x.abs() >= self.bound
        inner = torch.where(outside, 0.0, x)
        k = (inner[..., None] >= knots[..., row, 1:-1]).sum(-1)[..., None, None].expand(*x.shape, 3, 1)
        ends = (knots.gather(-1, at)[..., 0].unbind(-1) for at in (k, k + 1))
        return outside, inner, [part for end in ends for part in end]

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        outside, inner, (x0, y0, d0, x1, y1, d1) = self.place(x, parameters, 0)
        w, h = x1 - x0, y1 - y0
        s, xi = h / w, (inner - x0) / w
        both = xi * (1 - xi)
        r = s + (d0 + d1 - 2 * s) * both
        z = y0 + h * (s * xi**2 + d0 * both) / r
        log_slope = torch.log((s / r) ** 2 * (d1 * xi**2 + 2 * s * both + d0 * (1 - xi) ** 2))
        return torch.where(outside, x, z), torch.where(outside, 0.0, log_slope)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        outside, inner, (x0, y0, d0, x1, y1, d1) = self.place(z, parameters, 1)
        w, h = x1 - x0, y1 - y0
        s, eta = h / w, (inner - y0) / h
        q = eta * d1 - (1 - eta) * d0
        p = q.abs() + torch.sqrt(q**2 + 4 * s**2 * eta * (1 - eta))
        part = 2 * s * torch.where(q < 0, eta, 1 - eta)
        return torch.where(outside, z, x0 + w * torch.where(q < 0, part, p) / (part + p))
