"""How the time of a training step, a density or a sample grows with a size: t ∝ sizeᵖ, with the exponent p fitted.

An exponent below the expected one means that costs that do not depend on the size still matter at these sizes; one well
above it means work that should not be there. PyTorch is not needed.

    python -m benchmarks.growth [--threads 2] [--quick] [--save]
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.record import Row, add_arguments, report
from benchmarks.threads import milliseconds
from tinygen import no_grad, set_num_threads, value_and_grad
from tinygen.distributions import Bernoulli
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.models import IAF, MAF, VAE, GatedPixelCNN, RealNVP, WaveNet
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder

Call = Callable[[], object]


class Growth(NamedTuple):
    """What is timed for each of several sizes.

    Args:
        build: maps a size to the call to time.
        exponent: the expected p of t ∝ sizeᵖ.
    """

    name: str
    sizes: tuple[int, ...]
    build: Callable[[int], Call]
    exponent: float


def step(model: Any, x: np.ndarray) -> Call:
    """Return the forward and backward pass of a training step."""
    derivative, rng = value_and_grad(model.loss, model.parameters()), np.random.default_rng(1)
    return lambda: derivative(x, rng=rng)


def gated_pixelcnn(batch: int = 16, side: int = 16, layers: int = 4) -> Call:
    rng = np.random.default_rng(0)
    model = GatedPixelCNN((side, side, 1), 2, rng, channels=32, layers=layers)
    return step(model, rng.integers(0, 2, (batch, side, side, 1)))


def wavenet(length: int) -> Call:
    rng = np.random.default_rng(0)
    return step(WaveNet((length,), 32, rng, channels=32), rng.integers(0, 32, (4, length)))


def realnvp(batch: int) -> Call:
    rng = np.random.default_rng(0)
    return step(RealNVP((8, 8, 1), rng, scales=2, hidden=32), rng.normal(size=(batch, 8, 8, 1)).astype(np.float32))


def vae(latent: int) -> Call:
    rng = np.random.default_rng(0)
    encoder = MLPEncoder((64,), 2 * latent, rng, hidden=(64,), levels=2)
    decoder = MLPDecoder(latent, (64, 1), rng, hidden=(64,))
    return step(VAE((64,), latent, encoder, decoder, Bernoulli()), rng.integers(0, 2, (64, 64)))


def density(kind: Any) -> Callable[[int], Call]:
    def build(dim: int) -> Call:
        rng = np.random.default_rng(0)
        flow, x = kind(dim, rng, layers=2, hidden=(128,)), rng.normal(size=(16, dim)).astype(np.float32)
        return lambda: no_grad()(flow.log_prob)(x)

    return build


def sample(kind: Any) -> Callable[[int], Call]:
    def build(dim: int) -> Call:
        rng = np.random.default_rng(0)
        flow = kind(dim, rng, layers=2, hidden=(128,))
        return lambda: flow.sample(16, rng)

    return build


CASES = [
    Growth("Gated PixelCNN, step against batch", (8, 16, 32, 64, 128), lambda n: gated_pixelcnn(batch=n), 1),
    Growth("Gated PixelCNN, step against image side", (12, 16, 24, 32, 48), lambda n: gated_pixelcnn(side=n), 2),
    Growth("Gated PixelCNN, step against layers", (2, 4, 8, 16, 32), lambda n: gated_pixelcnn(layers=n), 1),
    Growth("RealNVP on 8×8, step against batch", (32, 64, 128, 256), realnvp, 1),
    Growth("WaveNet, step against sequence length", (512, 1024, 2048, 4096), wavenet, 1),
    Growth("VAE, step against latent size", (512, 1024, 2048, 4096), vae, 1),
    Growth("MAF, density against dimension", (512, 1024, 2048, 4096), density(MAF), 1),
    Growth("MAF, sample against dimension", (128, 256, 512, 1024), sample(MAF), 1),
    Growth("IAF, density against dimension", (128, 256, 512, 1024), density(IAF), 1),
    Growth("IAF, sample against dimension", (512, 1024, 2048, 4096), sample(IAF), 1),
]


def fitted_exponent(times: Mapping[int, float]) -> float:
    """Return the slope of the least-squares line through (ln size, ln time)."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def rows(quick: bool) -> Iterator[Row]:
    for case in CASES[-1:] if quick else CASES:
        times = {size: milliseconds(case.build(size), 0.01 if quick else 0.5) for size in case.sizes}
        values: dict[str, float | str] = {"fitted": fitted_exponent(times), "expected": case.exponent}
        yield Row("growth", case.name, values | {f"ms at {size}": ms for size, ms in times.items()})


def figure(results: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw a panel per case: the times, the fitted line, and a line with the expected exponent."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    canvas = Figure(figsize=(15, 6.4), layout="constrained")
    plain = FuncFormatter(lambda value, _: f"{value:.3g}" if value < 1000 else f"{value:.0f}")
    for axes, (name, values) in zip(canvas.subplots(2, 5).flat, results.items(), strict=False):
        times = {int(key.removeprefix("ms at ")): value for key, value in values.items() if key.startswith("ms at ")}
        sizes, ms = np.array(list(times)), np.array(list(times.values()))
        axes.loglog(sizes, ms, "o", label=f"measured, p = {values['fitted']:.2f}")
        last = ms[-1] * (sizes / sizes[-1]) ** values["expected"]
        axes.loglog(sizes, last, "--", label=f"expected, p = {values['expected']:g}")
        for axis, ticks in ((axes.xaxis, sizes), (axes.yaxis, ms)):
            axis.set_major_locator(FixedLocator(list(ticks)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(plain)
        title, _, size = name.partition(" against ")
        axes.set(title=title, xlabel=size, ylabel="time, ms")
        axes.legend(fontsize=8)
    canvas.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    keep_freed_memory()
    set_num_threads(args.threads)
    report("growth", rows(args.quick), args)
