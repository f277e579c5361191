"""PyTorch twin of the learned CDF of Flow1D."""

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from tinygen.models.flows.flow_1d import LearnedCDF

from .layers import parameter


class TorchLearnedCDF(nn.Module):
    """A mixture of logistics with a normal base; the inverse is the same safeguarded Newton method in float64."""

    def __init__(self, cdf: LearnedCDF) -> None:
        super().__init__()
        self.logits, self.means = parameter(cdf.logits.value), parameter(cdf.means.value)
        self.log_scales = parameter(cdf.log_scales.value)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_weights, a = F.log_softmax(self.logits, 0), (x[..., None] - self.means) * torch.exp(-self.log_scales)
        log_slope = torch.logsumexp(log_weights + F.logsigmoid(a) + F.logsigmoid(-a) - self.log_scales, -1)
        z = torch.special.ndtri(torch.exp(torch.logsumexp(log_weights + F.logsigmoid(a), -1)))
        return z, (log_slope + 0.5 * z * z + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        z, weights = z.double(), torch.softmax(self.logits.double(), 0)
        means, scales = self.means.double(), torch.exp(self.log_scales.double())
        logit = torch.special.log_ndtr(z) - torch.special.log_ndtr(-z)
        ends = means + scales * logit[..., None]
        low, high, x = ends.amin(-1), ends.amax(-1), (weights * ends).sum(-1)
        step = before = high - low
        converged = torch.zeros_like(x, dtype=torch.bool)  # these elements of x stay fixed: another step would bisect
        while True:
            c = torch.sigmoid((x[..., None] - means) / scales)
            u, slope = (weights * c).sum(-1), (weights / scales * c * (1 - c)).sum(-1)
            error = torch.logit(u) - logit
            low, high = torch.where(error < 0, x, low), torch.where(error < 0, high, x)
            newton = error * u * (1 - u) / slope
            good = (x - newton >= low) & (x - newton <= high) & (newton.abs() <= 0.5 * before.abs())
            before, step = step, torch.where(good, newton, x - 0.5 * (low + high))
            x = torch.where(converged, x, x - step)
            converged |= step.abs() <= torch.where(good, 1e-9, 2.0**-52) * scales.min() + 2.0**-52 * x.abs()
            if bool(converged.all()):
                return x.float()
