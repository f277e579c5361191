"""Fit FFJORD to densities in the plane whose entropy is known: how far above that floor does it stay?

python examples/ffjord.py [--density checkerboard] [--seed 0] [--out out/ffjord] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point: the mean of ln p(x) − ln q(x) on fresh draws

Trained with a few fixed steps, measured with adaptive ones. Without --density all three share the time.
"""

import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
from flow_pictures import density_and_samples, latent_grid_gif, noise_grid
from matplotlib.figure import Figure
from reporting import arguments, report

from tinygen import no_grad, plot
from tinygen.bijections import Affine, Chain, Flow
from tinygen.data import Checkerboard, ToyDensity, TwoMoons, eight_gaussians
from tinygen.models import FFJORD
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

DENSITIES: dict[str, Any] = {"checkerboard": Checkerboard, "eight_gaussians": eight_gaussians, "two_moons": TwoMoons}


def trained(toy: ToyDensity, scale: float, steps: int, seed: int) -> FFJORD:
    flow = FFJORD(2, rng := np.random.default_rng(seed))
    loss = lambda counted, rng: flow.loss((toy.sample(len(counted), rng) / scale).astype(np.float32))
    adam, ema = Adam(flow.parameters(), cosine(4e-3, steps, warmup=steps // 20)), EMA(flow.parameters(), 0.99)
    fit(loss, flow, np.zeros(256), optimizer=adam, ema=ema, clip=0.5, shards=2, batch_size=256, rng=rng, steps=steps)
    return flow


def over_time(flow: FFJORD) -> Figure:
    """Show the density at five times: from each of them on, points are carried to the noise."""
    figure = Figure(figsize=(12.5, 2.8), dpi=plot.DPI, facecolor="white", layout="constrained")
    points = np.stack(np.meshgrid(*[np.linspace(-3, 3, 120, dtype=np.float32)] * 2), axis=-1).reshape(-1, 2)
    for panel, t in zip(figure.subplots(1, 5), (1, 0.75, 0.5, 0.25, 0), strict=True):
        z, log_det = flow.bijection.solve(points, t, 1.0).y
        p = np.exp((flow.base.log_prob(z) + log_det).value)
        panel.imshow(p.reshape(120, 120), extent=(-3, 3, -3, 3), origin="lower", cmap="Blues", vmin=0)
        panel.set(xticks=[], yticks=[], title=f"t = {t}")
    return figure


def main() -> None:
    args = arguments(__doc__ or "", "ffjord", density=tuple(DENSITIES))
    names = [args.density] if args.density else list(DENSITIES)[: 1 if args.quick else None]
    start, metrics = time.perf_counter(), dict[str, float]()
    for name in names:
        toy, rng = DENSITIES[name](), np.random.default_rng(args.seed + 1)
        scale = float(toy.sample(10_000, rng).std())
        flow = trained(toy, scale, 5 if args.quick else 6000 // len(names), args.seed)
        scaled = Flow(Chain(Affine(1 / scale), flow.bijection), flow.base)
        log_q: Any = lambda x: scaled.log_prob(x.astype(np.float32)).value  # noqa: B023
        with no_grad():
            gaps = toy.log_prob(x := toy.sample(1000 if args.quick else 20_000, rng)) - log_q(x)
            metrics[f"{name}_gap_nats_per_point"] = gap = float(gaps.mean())
            metrics[f"{name}_standard_error"] = error = float(gaps.std() / math.sqrt(len(x)))
            if gap < -5 * error:
                raise AssertionError(f"{name}: {gap:.4f} ± {error:.4f} nats below the entropy: log_prob must be wrong")
            metrics[f"{name}_evaluations"] = flow.bijection.solve(x / scale, 0.0, 1.0).evaluations
            stages = [noise_grid().reshape(-1, 2).astype(np.float32)]
            for t0, t1 in pairwise(np.linspace(1, 0, 2 if args.quick else 13)):
                stages.append(flow.bijection.solve(stages[-1], t0, t1, volume=False).y[0].value)
            seen = density_and_samples(log_q, toy.sample(4000, rng), scaled.sample(4000, rng), toy.box)
            plot.save(seen, args.out / f"{name}.png")
            plot.save(over_time(flow), args.out / f"{name}_over_time.png")
        lines = [(scale * stage.astype(np.float64)).reshape(-1, 400, 2) for stage in stages]
        latent_grid_gif(lines, toy.box, args.out / f"{name}.gif")
    floors = {f"entropy of {name}": DENSITIES[name]().entropy for name in names}
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, floors, "nats per point")


if __name__ == "__main__":
    main()
