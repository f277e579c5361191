"""Flows in tinygen, PyTorch and JAX (RealNVP and MAF of vectors): a training step, and sampling.

python -m benchmarks.flows [--threads 2] [--quick] [--save]
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import timing
from benchmarks.operations import operations
from benchmarks.record import Row, report
from benchmarks.twins.flows import TorchFlow
from tinygen.bijections import Flow, RationalQuadraticSpline
from tinygen.models import FFJORD, IAF, MAF, NICE, Flow1D, Glow, RealNVP
from tinygen.ode import FixedStep

IN_JAX = ("RealNVP, 2-D", "MAF, 2-D", "MAF, 16-D")
SPLINE = RationalQuadraticSpline(16)
Rng = np.random.Generator


def models(quick: bool) -> dict[str, tuple[Callable[[Rng], Flow], int]]:
    """Return the flows by name, each with its batch size."""
    width, steps = (8, 2) if quick else (128, 6)
    half = width // 2
    return {
        "Flow1D, 10 logistics, normal base": (lambda rng: Flow1D(10), 256),
        "NICE, 64-D": (lambda rng: NICE((64,), rng, hidden=width), 256),
        "RealNVP, 2-D": (lambda rng: RealNVP((2,), rng, mask="half", layers=8, hidden=width, depth=3), 256),
        "RealNVP with splines, 2-D": (
            lambda rng: RealNVP((2,), rng, mask="half", layers=4, hidden=width, transformer=SPLINE),
            256,
        ),
        "MAF, 2-D": (lambda rng: MAF(2, rng, layers=5, hidden=(width, width)), 256),
        "MAF, 16-D": (lambda rng: MAF(16, rng, layers=5, hidden=(width, width)), 256),
        "IAF, 16-D": (lambda rng: IAF(16, rng, layers=5, hidden=(width, width)), 256),
        "FFJORD, 2-D, 6 steps of RK4": (
            lambda rng: FFJORD(2, rng, hidden=width, training=FixedStep(6), solver=FixedStep(6)),
            256,
        ),
        "RealNVP on 8×8": (lambda rng: RealNVP((8, 8, 1), rng, scales=2, hidden=half, depth=1), 64),
        "Glow on 8×8": (lambda rng: Glow((8, 8, 1), rng, steps=steps, hidden=half), 64),
        "RealNVP on 28×28": (lambda rng: RealNVP((28, 28, 1), rng, scales=2, hidden=half, depth=1), 32),
        "Glow on 28×28": (lambda rng: Glow((28, 28, 1), rng, steps=steps, hidden=half), 32),
    }


def make(build: Callable[[Rng], Flow]) -> Flow:
    """Return a flow with random parameters: a last layer of zeros would pass no gradient to earlier layers."""
    rng = np.random.default_rng(1)
    flow = build(rng)
    for parameter in flow.parameters():
        parameter.assign(parameter.value + 0.02 * rng.normal(size=parameter.shape))
    return flow


def layouts(flow: Flow) -> dict[str, torch.memory_format]:
    """Return the memory formats by name; for vectors there is only one."""
    formats = timing.LAYOUTS.items()
    return {f"PyTorch, {k}": f for k, f in formats} if len(flow.shape) == 3 else {"PyTorch": torch.preserve_format}


def steps(name: str, build: Callable[[Rng], Flow], batch: int) -> timing.Steps:
    rng, flow = np.random.default_rng(0), make(build)
    x = rng.normal(size=(batch, *flow.shape)).astype(np.float32)

    def in_torch(layout: torch.memory_format) -> timing.Step:
        data = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x)
        twin, data = TorchFlow(flow).to(memory_format=layout), data.to(memory_format=layout)
        return timing.torch_step(lambda: -twin.log_prob(data).mean(), twin)

    def in_jax() -> timing.Step:
        from benchmarks.twins import jax_models as twins

        parameters, loss = twins.flow_loss(flow)
        return twins.training_step(loss, parameters, lambda: (x,))

    theirs: dict[str, Any] = {library: partial(in_torch, layout) for library, layout in layouts(flow).items()}
    jax = timing.if_installed(in_jax) if name in IN_JAX else {}
    return {"tinygen": lambda: timing.tinygen_step(flow, x, rng=rng), **theirs, **jax}


def cases(quick: bool) -> Iterator[timing.Case]:
    for name, (build, batch) in models(quick).items():
        yield timing.Case(f"{name}, batch {batch}", batch, partial(steps, name, build), seconds=0.01 if quick else 0.5)


def sampling(name: str, build: Callable[[Rng], Flow], batch: int, seconds: float) -> Row:
    flow, rng = make(build), np.random.default_rng(0)
    shape = flow.base.shape
    shape = (batch, *((shape[2], *shape[:2]) if len(shape) == 3 else shape))
    theirs = {
        library: partial(sample, TorchFlow(flow).to(memory_format=layout), shape)
        for library, layout in layouts(flow).items()
    }
    ours = lambda: flow.sample(batch, rng)
    times = timing.compare(ours, theirs, seconds=seconds)
    return Row(timing.SAMPLING, f"{name}, {batch} samples", timing.with_rates(times, operations(ours)))


def sample(twin: TorchFlow, noise_shape: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return twin.bijection.inverse(torch.randn(noise_shape))


def rows(quick: bool) -> Iterator[Row]:
    yield from timing.training_rows(cases(quick))
    for name, (build, batch) in models(quick).items():
        yield sampling(name, build, batch, 0.01 if quick else 0.3)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("flows", rows(args.quick), args)
