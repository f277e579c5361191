"""Flows in tinygen and PyTorch: a training step, and sampling.

python -m benchmarks.flows [--threads 2] [--quick]
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks import timing
from benchmarks.twins.flows import TorchFlow
from tinygen.bijections import Flow
from tinygen.models import FFJORD, IAF, MAF, NICE, Flow1D, Glow, RealNVP
from tinygen.ode import FixedStep


def training_and_sampling(name: str, flow: Flow, batch: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *flow.shape)).astype(np.float32)
    for parameter in flow.parameters():  # a last layer of zeros would pass no gradient to earlier layers
        parameter.assign(parameter.value + 0.02 * rng.normal(size=parameter.shape))
    image = len(flow.shape) == 3
    data = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if image else x)
    noise_shape = flow.base.shape
    if len(noise_shape) == 3:
        noise_shape = (noise_shape[2], *noise_shape[:2])
    steps: dict[str, timing.Step] = {}
    samplers: dict[str, Callable[[], object]] = {}
    for layout, memory_format in timing.LAYOUTS.items() if image else [("vectors", torch.preserve_format)]:
        twin = TorchFlow(flow).to(memory_format=memory_format)
        x_in_layout = data.to(memory_format=memory_format)
        steps[layout] = timing.torch_step(lambda twin=twin, x=x_in_layout: -twin.log_prob(x).mean(), twin)  # type: ignore[misc]
        samplers[layout] = partial(sample, twin, (batch, *noise_shape))
    sampling = timing.compare({"tinygen": lambda: flow.sample(batch, rng)}, samplers, seconds=seconds)
    ours = {"tinygen": timing.tinygen_step(flow, x, rng=rng)}
    timing.check_same_losses({**ours, **steps})
    return f"| {name}, batch {batch} | {timing.compare(ours, steps, seconds=seconds)} | {sampling} |"


def sample(twin: TorchFlow, noise_shape: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return twin.bijection.inverse(torch.randn(noise_shape))


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    print("| ms | step: tinygen | PyTorch | ratio | sampling: tinygen | PyTorch | ratio |")
    print("|---|---|---|---|---|---|---|")
    rng, seconds = np.random.default_rng(1), 0.01 if args.quick else 1.0
    width, steps = (8, 2) if args.quick else (128, 6)
    channels = width // 2
    for name, flow, batch in (
        ("Flow1D, 10 logistics, normal base", Flow1D(10), 256),
        ("NICE, 64-D", NICE((64,), rng, hidden=width), 256),
        ("RealNVP, 2-D", RealNVP((2,), rng, mask="half", layers=8, hidden=width, depth=3), 256),
        ("MAF, 2-D", MAF(2, rng, layers=5, hidden=(width, width)), 256),
        ("MAF, 16-D", MAF(16, rng, layers=5, hidden=(width, width)), 256),
        ("IAF, 16-D", IAF(16, rng, layers=5, hidden=(width, width)), 256),
        ("FFJORD, 2-D, 6 steps of RK4", FFJORD(2, rng, hidden=width, solver=FixedStep(6)), 256),
        ("RealNVP on 8×8", RealNVP((8, 8, 1), rng, scales=2, hidden=channels, depth=1), 64),
        ("Glow on 8×8", Glow((8, 8, 1), rng, steps=steps, hidden=channels), 64),
        ("RealNVP on 28×28", RealNVP((28, 28, 1), rng, scales=2, hidden=channels, depth=1), 32),
        ("Glow on 28×28", Glow((28, 28, 1), rng, steps=steps, hidden=channels), 32),
    ):
        print(training_and_sampling(name, flow, batch, seconds), flush=True)
