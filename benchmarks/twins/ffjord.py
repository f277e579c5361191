"""PyTorch twin of FFJORD's continuous flow."""

from typing import Any

import torch
from torch import nn

from .layers import parameter


class TorchContinuousFlow(nn.Module):
    """RK4 with the same steps and the exact trace; the time-dependent weights are computed once per time."""

    def __init__(self, flow: Any) -> None:
        super().__init__()
        self.steps = flow.solver.steps
        self.layers = nn.ParameterList(parameter(p.value) for p in flow.velocity.parameters())

    def weights_at(self, t: float) -> list[torch.Tensor]:
        weights = []
        for w, b, g, u in zip(*(list(self.layers)[i::4] for i in range(4)), strict=True):
            weights += [w * (1 + t * g), b * (1 + t * g) + t * u]
        return [*weights, weights[2] * (weights[4] @ weights[0]).T]

    def velocity(self, weights: list[torch.Tensor], x: torch.Tensor, trace: bool) -> list[torch.Tensor]:
        w1, b1, w2, b2, w3, b3, product = weights
        h1 = torch.tanh(torch.addmm(b1, x, w1))
        h2 = torch.tanh(torch.addmm(b2, h1, w2))
        f = torch.addmm(b3, h2, w3)
        return [f, (((1 - h1 * h1) @ product) * (1 - h2 * h2)).sum(1)] if trace else [f]

    def solve(self, x: torch.Tensor, t0: float, t1: float, trace: bool) -> list[torch.Tensor]:
        y, h, cache = [x, x.new_zeros(len(x))][: 1 + trace], (t1 - t0) / self.steps, dict[float, list[torch.Tensor]]()
        for step in range(self.steps):
            slopes, x = list[list[torch.Tensor]](), y[0]
            for c in (0, 0.5, 0.5, 1):
                t = t0 + (step + c) * h
                cache[t] = weights = cache.get(t) or self.weights_at(t)
                slopes.append(self.velocity(weights, x + c * h * slopes[-1][0] if slopes else x, trace))
            y = [p + h / 6 * (a + 2 * b + 2 * c + d) for p, a, b, c, d in zip(y, *slopes, strict=True)]
        return y

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, log_det = self.solve(x, 0.0, 1.0, True)
        return z, log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self.solve(z, 1.0, 0.0, False)[0]
