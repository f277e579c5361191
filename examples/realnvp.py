"""Fit a RealNVP to densities in the plane whose entropy is known, and see how far above that floor it stays.

python examples/realnvp.py [--density checkerboard] [--seed 0] [--out out/realnvp] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point, estimated as the mean of ln p(x) − ln q(x) on fresh draws

A gap negative beyond its sampling error would be a wrong density, and is an error. Each density takes about 80 seconds
of one core; without --density all are fitted. What was found: docs/RESULTS.md.
"""

import time

import numpy as np
from common.flow_pictures import density_and_samples, latent_grid, latent_grid_gif, noise_grid, pulled_back
from common.reporting import arguments, report
from common.toys import DENSITIES, gap, train

from tinygen import plot
from tinygen.models import RealNVP


def main() -> None:
    args = arguments(__doc__ or "", "realnvp", density=tuple(DENSITIES))
    names = [args.density] if args.density else list(DENSITIES)[: 1 if args.quick else None]
    metrics, floors = dict[str, float](), dict[str, float]()
    for name in names:
        start, toy, rng = time.perf_counter(), DENSITIES[name](), np.random.default_rng(args.seed)
        flow = RealNVP((2,), rng, mask="half", layers=12, hidden=64, depth=2)
        flow.initialise(toy.sample(1000, rng).astype(np.float32))
        train(flow, flow.loss, toy, rng, steps=20 if args.quick else 4000, lr=3e-3)
        metrics[f"{name}_seconds"] = time.perf_counter() - start
        rng = np.random.default_rng(args.seed + 1)
        metrics[f"{name}_gap_nats_per_point"], metrics[f"{name}_standard_error"] = gap(flow.log_prob, toy, rng)
        floors[f"entropy of {name}"] = toy.entropy
        points = toy.sample(4000, rng), flow.sample(4000, rng)
        figure = density_and_samples(lambda x, flow=flow: flow.log_prob(x).value, *points, toy.box)  # type: ignore[misc]
        plot.save(figure, args.out / f"{name}.png")
        stages = pulled_back(flow.bijection, noise_grid())
        plot.save(latent_grid(stages, toy.box), args.out / f"{name}_grid.png")
        latent_grid_gif(stages[: 3 if args.quick else None], toy.box, args.out / f"{name}_grid.gif")
    report(args.out, metrics, floors, "nats per point")


if __name__ == "__main__":
    main()
