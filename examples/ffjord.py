"""Fit FFJORD to densities in the plane whose entropy is known: how far above that floor does it stay?

python examples/ffjord.py [--density checkerboard] [--seed 0] [--out out/ffjord] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point: the mean of ln p(x) − ln q(x) on fresh draws

Trained with a few fixed steps on data of mean 0 and variance 1, measured with adaptive ones. Each density takes about
90 seconds of one core; without --density all are fitted. What was found: docs/RESULTS.md.
"""

import time
from itertools import pairwise

import numpy as np
from common.flow_pictures import density_and_samples, latent_grid_gif, noise_grid
from common.reporting import arguments, report
from common.toys import DENSITIES, gap, train
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.bijections import Affine, Chain, Flow
from tinygen.models import FFJORD
from tinygen.ode import FixedStep


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
    metrics = dict[str, float]()
    for name in names:
        start, toy, rng = time.perf_counter(), DENSITIES[name](), np.random.default_rng(args.seed)
        known = toy.sample(10_000, rng)
        mean, std = known.mean(0), known.std(0)
        flow = FFJORD(2, rng, steepness=8, training=FixedStep(8))
        scaled = Flow(Chain(Affine(1 / std, -mean / std), flow.bijection), flow.base)
        loss = lambda x: flow.loss(((x - mean) / std).astype(np.float32))  # noqa: B023
        train(flow, loss, toy, rng, steps=5 if args.quick else 2000, lr=1e-2, batch=256, clip=1)
        metrics[f"{name}_seconds"] = time.perf_counter() - start
        rng, n = np.random.default_rng(args.seed + 1), 1000 if args.quick else 20_000
        metrics[f"{name}_gap_nats_per_point"], metrics[f"{name}_standard_error"] = gap(scaled.log_prob, toy, rng, n)
        with no_grad():
            start_points = ((toy.sample(1000, rng) - mean) / std).astype(np.float32)
            metrics[f"{name}_evaluations"] = flow.bijection.solve(start_points, 0.0, 1.0).evaluations
            stages = [noise_grid().reshape(-1, 2).astype(np.float32)]
            for t0, t1 in pairwise(np.linspace(1, 0, 2 if args.quick else 13)):
                stages.append(flow.bijection.solve(stages[-1], t0, t1, volume=False).y[0].value)
            log_q = lambda x: scaled.log_prob(x.astype(np.float32)).value  # noqa: B023
            seen = density_and_samples(log_q, toy.sample(4000, rng), scaled.sample(4000, rng), toy.box)
            plot.save(seen, args.out / f"{name}.png")
            plot.save(over_time(flow), args.out / f"{name}_over_time.png")
        lines = [(std * stage.astype(np.float64) + mean).reshape(-1, 400, 2) for stage in stages]
        latent_grid_gif(lines, toy.box, args.out / f"{name}.gif")
    floors = {f"entropy of {name}": DENSITIES[name]().entropy for name in names}
    report(args.out, metrics, floors, "nats per point")


if __name__ == "__main__":
    main()
