"""Fit a RealNVP to densities in the plane whose entropy is known, and see how far above that floor it stays.

python examples/realnvp.py [--density checkerboard] [--seed 0] [--out out/realnvp] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point, estimated as the mean of ln p(x) − ln q(x) on fresh draws

Every step trains on fresh draws, so there is nothing to overfit. Without --density all three share the time; one alone
gets all of it, and ends lower. A gap negative beyond its sampling error would be a wrong density, and is an error.
"""

import math
import time
from collections.abc import Callable

import numpy as np
from flow_pictures import density_and_samples, latent_grid, latent_grid_gif, noise_grid, pulled_back
from reporting import arguments, report

from tinygen import no_grad, plot
from tinygen.data import Checkerboard, ToyDensity, TwoMoons, eight_gaussians
from tinygen.models import MAF, RealNVP
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

TOYS: list[Callable[[], ToyDensity]] = [Checkerboard, eight_gaussians, TwoMoons]
DENSITIES = dict(zip(("checkerboard", "eight_gaussians", "two_moons"), TOYS, strict=True))


def trained(toy: ToyDensity, steps: int, seed: int) -> RealNVP:
    rng = np.random.default_rng(seed)
    flow = RealNVP((2,), rng, mask="half", layers=8, width=128, depth=3)
    flow.initialise(toy.sample(1000, rng).astype(np.float32))
    parameters = flow.parameters()
    fit(
        lambda batch, rng: flow.loss(toy.sample(len(batch), rng).astype(np.float32)),
        flow,
        np.zeros(256),  # only counted: every batch is drawn anew
        optimizer=Adam(parameters, cosine(2e-3, steps, warmup=steps // 20)),
        batch_size=256,
        rng=rng,
        steps=steps,
        ema=EMA(parameters, 0.99),
        clip=10,
        unit="nats per point",
    )
    return flow


def gap(flow: RealNVP | MAF, toy: ToyDensity, rng: np.random.Generator) -> tuple[float, float]:
    """Return KL(p‖flow) in nats per point and its standard error, on 20,000 draws of p."""
    x = toy.sample(20_000, rng)
    with no_grad():
        each = toy.log_prob(x) - flow.log_prob(x).value
    mean, error = float(each.mean()), float(each.std() / math.sqrt(len(x)))
    if mean < -5 * error:
        raise AssertionError(f"gap: {mean:.4f} ± {error:.4f} nats, below the entropy: the log_prob must be wrong")
    return mean, error


def main() -> None:
    args = arguments(__doc__ or "", "realnvp", density=tuple(DENSITIES))
    names = [args.density] if args.density else list(DENSITIES)[: 1 if args.quick else None]
    start, metrics, floors = time.perf_counter(), dict[str, float](), dict[str, float]()
    for name in names:
        toy = DENSITIES[name]()
        flow = trained(toy, 20 if args.quick else 6000 // len(names), args.seed)
        rng = np.random.default_rng(args.seed + 1)
        metrics[f"{name}_gap_nats_per_point"], metrics[f"{name}_standard_error"] = gap(flow, toy, rng)
        floors[f"entropy of {name}"] = toy.entropy
        points = toy.sample(4000, rng), flow.sample(4000, rng)
        figure = density_and_samples(lambda x, flow=flow: flow.log_prob(x).value, *points, toy.box)  # type: ignore[misc]
        plot.save(figure, args.out / f"{name}.png")
        stages = pulled_back(flow.bijection, noise_grid())
        plot.save(latent_grid(stages, toy.box), args.out / f"{name}_grid.png")
        latent_grid_gif(stages[: 3 if args.quick else None], toy.box, args.out / f"{name}_grid.gif")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, floors, "nats per point")


if __name__ == "__main__":
    main()
