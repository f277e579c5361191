"""Flows beside the same flows in PyTorch: same weights, same batch, same number of threads, one process.

A training step (forward, backward, Adam) and the drawing of samples, in float32, against the better of PyTorch's two
memory formats where there are images.

    python -m benchmarks.flows [--threads 2] [--quick]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.side_by_side import arguments, check_same_descent, our_step, torch_step
from benchmarks.timing import medians
from tinygen.bijections import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    ContinuousFlow,
    FactorOut,
    Flow,
    Inverse,
    InvertibleConv,
    MaskedAutoregressive,
    Reshape,
    Squeeze,
)
from tinygen.models import FFJORD, IAF, MAF, NICE, Flow1D, Glow, RealNVP
from tinygen.models.flows.flow_1d import LearnedCDF
from tinygen.nn import Conv
from tinygen.nn.masks import made_masks
from tinygen.nn.networks.couplings import CouplingMLP, GlowNet, ResidualNet
from tinygen.ode import FixedStep

Pair = tuple[torch.Tensor, torch.Tensor]


def learned(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array.copy()))


def torch_conv(layer: Conv) -> nn.Conv2d:
    taps, n_in, n_out = layer.w.shape
    size = math.isqrt(taps)
    twin = nn.Conv2d(n_in, n_out, size, padding=size // 2)
    twin.weight = learned(layer.w.value.reshape(size, size, n_in, n_out).transpose(3, 2, 0, 1))
    twin.bias = None if layer.b is None else learned(layer.b.value)
    return twin


class TorchNet(nn.Module):
    """The network of a coupling, of any of the three kinds."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.kind = type(net)
        if isinstance(net, CouplingMLP):
            self.layers = nn.ModuleList()
            for layer in [*net.layers, net.last]:
                twin = nn.Linear(*layer.w.shape)
                twin.weight, twin.bias = learned(layer.w.value.T), learned(layer.b.value)  # type: ignore[union-attr]
                self.layers.append(twin)
        elif isinstance(net, ResidualNet):
            inner = [conv for block in net.blocks for conv in block]
            self.layers = nn.ModuleList(torch_conv(layer) for layer in [net.first, *inner, net.last])
        elif isinstance(net, GlowNet):
            self.layers = nn.ModuleList(torch_conv(layer) for layer in (net.first, net.middle, net.last))

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        first, *middle, last = self.layers
        h = first(a)
        if self.kind is ResidualNet:
            for inner, outer in zip(middle[::2], middle[1::2], strict=True):
                h = h + outer(F.relu(inner(F.relu(h))))
        else:
            for layer in middle:
                h = layer(F.relu(h))
        return last(F.relu(h))


class TorchFlow(nn.Module):
    """A chain of twins; images are (N, C, H, W) here, so that channels are axis 1, as they are of vectors."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.chain, self.shape = twin_of(flow.bijection), flow.shape

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        z, log_det = self.chain(x)
        z = z.flatten(1)
        return -0.5 * (z * z).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + log_det


class TorchChain(nn.Module):
    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.parts = nn.ModuleList(twin_of(part) for part in chain.bijections)

    def forward(self, x: torch.Tensor) -> Pair:
        total: Any = 0.0
        for part in self.parts:
            x, log_det = part(x)
            total = total + log_det
        return x, total

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        for part in reversed(self.parts):
            z = part.inverse(z)
        return z


class TorchCoupling(nn.Module):
    def __init__(self, coupling: Any) -> None:
        super().__init__()
        self.mask, self.net = coupling.mask, TorchNet(coupling.network)
        self.w = learned(coupling.w.value) if isinstance(coupling, AffineCoupling) else None

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

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
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


class TorchActNorm(nn.Module):
    def __init__(self, norm: ActNorm) -> None:
        super().__init__()
        self.m, self.s = learned(norm.m.value), learned(norm.s.value)

    def forward(self, x: torch.Tensor) -> Pair:
        over = (-1, *[1] * (x.ndim - 2))
        return (x - self.m.view(over)) * torch.exp(self.s).view(over), self.s.sum() * math.prod(x.shape[2:])

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        over = (-1, *[1] * (z.ndim - 2))
        return z * torch.exp(-self.s).view(over) + self.m.view(over)


class TorchInvertibleConv(nn.Module):
    def __init__(self, conv: InvertibleConv) -> None:
        super().__init__()
        self.lower, self.upper, self.log_s = (learned(p.value) for p in (conv.lower, conv.upper, conv.log_s))
        self.sign, self.order = torch.from_numpy(conv.sign.copy()), torch.from_numpy(conv.order.copy())

    def matrix(self) -> torch.Tensor:
        lower = torch.tril(self.lower, -1) + torch.eye(len(self.order))
        return lower[self.order] @ (torch.triu(self.upper, 1) + torch.diag(self.sign * torch.exp(self.log_s)))

    def forward(self, x: torch.Tensor) -> Pair:
        return F.conv2d(x, self.matrix().T[:, :, None, None]), self.log_s.sum() * math.prod(x.shape[2:])

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return F.conv2d(z, torch.linalg.inv(self.matrix()).T[:, :, None, None])


class TorchMove(nn.Module):
    """A squeeze, with its channels in tinygen's order, or a reshape to vectors."""

    def __init__(self, move: Squeeze | Reshape) -> None:
        super().__init__()
        self.squeeze = isinstance(move, Squeeze)
        self.shape = () if isinstance(move, Squeeze) else move.data

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        if not self.squeeze:
            return x.flatten(1), 0.0
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2), 0.0

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        if not self.squeeze:
            height, width, channels = self.shape
            return z.reshape(-1, channels, height, width)
        n, c, h, w = z.shape
        return z.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


class TorchFactorOut(nn.Module):
    def __init__(self, out: FactorOut) -> None:
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


class TorchContinuousFlow(nn.Module):
    """The same steps of RK4, the same trace, and weights computed once for each time."""

    def __init__(self, flow: Any) -> None:
        super().__init__()
        self.steps = flow.solver.steps
        self.layers = nn.ParameterList(learned(p.value) for p in flow.velocity.parameters())

    def at(self, t: float) -> list[torch.Tensor]:
        plain = []
        for w, b, g, u in zip(*(list(self.layers)[i::4] for i in range(4)), strict=True):
            plain += [w * (1 + t * g), b * (1 + t * g) + t * u]
        return [*plain, plain[2] * (plain[4] @ plain[0]).T]

    def slope(self, at: list[torch.Tensor], x: torch.Tensor, trace: bool) -> list[torch.Tensor]:
        w1, b1, w2, b2, w3, b3, around = at
        h1 = torch.tanh(torch.addmm(b1, x, w1))
        h2 = torch.tanh(torch.addmm(b2, h1, w2))
        f = torch.addmm(b3, h2, w3)
        return [f, (((1 - h1 * h1) @ around) * (1 - h2 * h2)).sum(1)] if trace else [f]

    def solve(self, x: torch.Tensor, t0: float, t1: float, trace: bool) -> list[torch.Tensor]:
        y, h, known = [x, x.new_zeros(len(x))][: 1 + trace], (t1 - t0) / self.steps, dict[float, list[torch.Tensor]]()
        for step in range(self.steps):
            slopes, x = list[list[torch.Tensor]](), y[0]
            for c in (0, 0.5, 0.5, 1):
                t = t0 + (step + c) * h
                known[t] = at = known.get(t) or self.at(t)
                slopes.append(self.slope(at, x + c * h * slopes[-1][0] if slopes else x, trace))
            y = [p + h / 6 * (a + 2 * b + 2 * c + d) for p, a, b, c, d in zip(y, *slopes, strict=True)]
        return y

    def forward(self, x: torch.Tensor) -> Pair:
        z, log_det = self.solve(x, 0.0, 1.0, True)
        return z, log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self.solve(z, 1.0, 0.0, False)[0]


class TorchAutoregressive(nn.Module):
    """An affine one. The inverse evaluates the whole network for each variable, differentiated or not."""

    def __init__(self, bijection: MaskedAutoregressive) -> None:
        super().__init__()
        net, self.bound = bijection.net, bijection.transformer.bound  # type: ignore[attr-defined]
        self.order, self.shape = [int(i) for i in net.order()], (-1, net.variables, net.width)
        self.masks = [torch.from_numpy(mask.T.astype(np.float32)) for mask in made_masks(net.degrees[0], net.width)]
        self.w = nn.ParameterList(learned(layer.w.value.T) for layer in net.layers)
        self.b = nn.ParameterList(learned(layer.b.value) for layer in net.layers)  # type: ignore[union-attr]

    def scale_and_shift(self, x: torch.Tensor) -> Pair:
        for i, (w, b, mask) in enumerate(zip(self.w, self.b, self.masks, strict=True)):
            x = F.linear(F.relu(x) if i else x, w * mask, b)
        s, t = x.view(self.shape).unbind(2)
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
    """Of a chain of autoregressive ones."""

    def __init__(self, inverse: Inverse) -> None:
        super().__init__()
        self.chain = twin_of(inverse.bijection)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        total: Any = 0.0
        for part in reversed(self.chain.parts):
            x, log_det = part.inverse_and_log_det(x)
            total = total + log_det
        return x, total

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return self.chain(z)[0]


class TorchLearnedCDF(nn.Module):
    """A mixture of logistics to normal noise; back by the same safeguarded Newton's method, in float64, all at once."""

    def __init__(self, cdf: LearnedCDF) -> None:
        super().__init__()
        self.logits, self.means, self.log_scales = map(
            learned, (p.value for p in (cdf.logits, cdf.means, cdf.log_scales))
        )

    def forward(self, x: torch.Tensor) -> Pair:
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
        found = torch.zeros_like(x, dtype=torch.bool)  # what is found stays, where another step would be a halving
        while True:
            c = torch.sigmoid((x[..., None] - means) / scales)
            u, slope = (weights * c).sum(-1), (weights / scales * c * (1 - c)).sum(-1)
            error = torch.logit(u) - logit
            low, high = torch.where(error < 0, x, low), torch.where(error < 0, high, x)
            newton = error * u * (1 - u) / slope
            good = (x - newton >= low) & (x - newton <= high) & (newton.abs() <= 0.5 * before.abs())
            before, step = step, torch.where(good, newton, x - 0.5 * (low + high))
            x = torch.where(found, x, x - step)
            found |= step.abs() <= torch.where(good, 1e-9, 2.0**-52) * scales.min() + 2.0**-52 * x.abs()
            if bool(found.all()):
                return x.float()


TWINS: dict[type, Callable[[Any], nn.Module]] = {
    Chain: TorchChain,
    ContinuousFlow: TorchContinuousFlow,
    AffineCoupling: TorchCoupling,
    AdditiveCoupling: TorchCoupling,
    ActNorm: TorchActNorm,
    InvertibleConv: TorchInvertibleConv,
    Squeeze: TorchMove,
    Reshape: TorchMove,
    FactorOut: TorchFactorOut,
    Inverse: TorchInverse,
    LearnedCDF: TorchLearnedCDF,
    MaskedAutoregressive: TorchAutoregressive,
}


def twin_of(bijection: Any) -> Any:
    return TWINS[type(bijection)](bijection)


def row(name: str, flow: Flow, batch: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *flow.shape)).astype(np.float32)
    for parameter in flow.parameters():  # from zeros, no gradient would reach the networks
        parameter.assign(parameter.value + 0.02 * rng.normal(size=parameter.shape))
    image = len(flow.shape) == 3
    y = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if image else x)
    steps: dict[str, Callable[[], float]] = {}
    draws: dict[str, Callable[[], object]] = {}
    for layout in ["torch NCHW", "torch NHWC"] if image else ["torch"]:
        twin = TorchFlow(flow)
        theirs = y
        if layout == "torch NHWC":
            twin, theirs = twin.to(memory_format=torch.channels_last), y.to(memory_format=torch.channels_last)
        steps[layout] = torch_step(lambda twin=twin, theirs=theirs: -twin.log_prob(theirs).mean(), twin)  # type: ignore[misc]
        draws[layout] = torch_draw(twin, batch, flow.base.shape, image)
    draws = {"tinygen": lambda: flow.sample(batch, rng), **draws}
    drawn = medians(draws, seconds=seconds)
    steps = {"tinygen": our_step(flow, x, rng=rng), **steps}
    check_same_descent(steps)
    stepped = medians(steps, seconds=seconds)
    figures = []
    for times in (stepped, drawn):
        ours, theirs_best = times["tinygen"], min(value for key, value in times.items() if key != "tinygen")
        figures.append(f"{ours:.2f} | {theirs_best:.2f} | {ours / theirs_best:.2f}")
    return f"| {name}, batch {batch} | {' | '.join(figures)} |"


def torch_draw(twin: TorchFlow, n: int, shape: tuple[int, ...], image: bool) -> Callable[[], object]:
    size = (shape[2], *shape[:2]) if image and len(shape) == 3 else shape

    def draw() -> object:
        with torch.no_grad():
            return twin.chain.inverse(torch.randn(n, *size))

    return draw


if __name__ == "__main__":
    given = arguments(__doc__, quick="small flows")
    print(
        "| ms | step: tinygen | PyTorch | ratio | samples: tinygen | PyTorch | ratio |\n|---|---|---|---|---|---|---|"
    )
    generator, seconds = np.random.default_rng(1), 0.01 if given.quick else 1.0
    width, steps = (8, 2) if given.quick else (128, 6)
    conv_width = width // 2
    for name, flow, batch in (
        ("Flow1D, 10 logistics to normal noise", Flow1D(10), 256),
        ("NICE of vectors (64,)", NICE((64,), generator, hidden=width), 256),
        ("RealNVP in the plane", RealNVP((2,), generator, mask="half", layers=8, hidden=width, depth=3), 256),
        ("MAF in the plane", MAF(2, generator, layers=5, hidden=(width, width)), 256),
        ("MAF of vectors (16,)", MAF(16, generator, layers=5, hidden=(width, width)), 256),
        ("IAF of vectors (16,)", IAF(16, generator, layers=5, hidden=(width, width)), 256),
        ("FFJORD in the plane, 6 steps of RK4", FFJORD(2, generator, hidden=width, solver=FixedStep(6)), 256),
        ("RealNVP on 8×8", RealNVP((8, 8, 1), generator, scales=2, hidden=conv_width, depth=1), 64),
        ("Glow on 8×8", Glow((8, 8, 1), generator, steps=steps, hidden=conv_width), 64),
        ("RealNVP on 28×28", RealNVP((28, 28, 1), generator, scales=2, hidden=conv_width, depth=1), 32),
        ("Glow on 28×28", Glow((28, 28, 1), generator, steps=steps, hidden=conv_width), 32),
    ):
        print(row(name, flow, batch, seconds), flush=True)
