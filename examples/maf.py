"""Fit masked autoregressive flows to densities in the plane whose entropy is known: affine layers, and a mixture's CDF.

python examples/maf.py [--density checkerboard] [--transformer affine] [--seed 0] [--out out/maf] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point, estimated as the mean of ln p(x) − ln q(x) on fresh draws

Five affine layers bend one bump of noise; a single layer of mixtures has 32 of them for each variable given the one
before. A gap negative beyond its sampling error would be a wrong density, and is an error. Without --density all are
fitted. What was found: docs/RESULTS.md.
"""

import time

import numpy as np
from common.flow_pictures import density_and_samples, latent_grid, noise_grid, pulled_back
from common.reporting import arguments, report
from common.toys import DENSITIES, gap, train

from tinygen import plot
from tinygen.bijections import AffineTransformer, MixtureCDF, Transformer
from tinygen.models import MAF

# Layers, and what each does to a variable.
SETTINGS: dict[str, tuple[int, Transformer]] = {"affine": (5, AffineTransformer()), "mixture_cdf": (1, MixtureCDF(32))}


def main() -> None:
    args = arguments(__doc__ or "", "maf", density=tuple(DENSITIES), transformer=tuple(SETTINGS))
    names = [args.density] if args.density else list(DENSITIES)[: 1 if args.quick else None]
    transformers = [args.transformer] if args.transformer else list(SETTINGS)
    metrics, floors = dict[str, float](), dict[str, float]()
    for name in names:
        toy = DENSITIES[name]()
        floors[f"entropy of {name}"] = toy.entropy
        for kind in transformers:
            start, rng, label = time.perf_counter(), np.random.default_rng(args.seed), f"{name}_{kind}"
            layers, transformer = SETTINGS[kind]
            flow = MAF(2, rng, layers=layers, hidden=(64, 64), transformer=transformer)
            train(flow, flow.loss, toy, rng, steps=20 if args.quick else 4500, lr=5e-3, batch=256)
            metrics[f"{label}_seconds"] = time.perf_counter() - start
            rng = np.random.default_rng(args.seed + 1)
            metrics[f"{label}_gap_nats_per_point"], metrics[f"{label}_standard_error"] = gap(flow.log_prob, toy, rng)
            points = toy.sample(4000, rng), flow.sample(4000, rng)
            figure = density_and_samples(lambda x, flow=flow: flow.log_prob(x).value, *points, toy.box)  # type: ignore[misc]
            plot.save(figure, args.out / f"{label}.png")
            stages = pulled_back(flow.bijection, noise_grid())
            plot.save(latent_grid(stages, toy.box, min(4, len(stages))), args.out / f"{label}_grid.png")
    report(args.out, metrics, floors, "nats per point")


if __name__ == "__main__":
    main()
