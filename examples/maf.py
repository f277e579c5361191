"""Fit masked autoregressive flows to densities in the plane whose entropy is known: affine layers, and a mixture's CDF.

python examples/maf.py [--density checkerboard] [--transformer affine] [--seed 0] [--out out/maf] [--quick]

    gap = E[−ln q(x)] − H = KL(p‖q) ≥ 0     nats per point, estimated as the mean of ln p(x) − ln q(x) on fresh draws

Five affine layers bend one bump of noise; a single layer of mixtures has 32 of them for each variable given the one
before. Every step trains on fresh draws, so there is nothing to overfit. Without --density all three share the time. A
gap negative beyond its sampling error would be a wrong density, and is an error (`gap` of realnvp.py).
"""

import time

import numpy as np
from flow_pictures import density_and_samples, latent_grid, noise_grid, pulled_back
from realnvp import DENSITIES, gap
from reporting import arguments, report

from tinygen import no_grad, plot
from tinygen.data import ToyDensity
from tinygen.models import MAF
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

# Layers, components and steps (1500 of which took 8 to 11 seconds of processor time).
SETTINGS = {"affine": (5, 1, 4500), "mixture_cdf": (1, 32, 4500)}


def trained(toy: ToyDensity, transformer: str, steps: int, seed: int) -> MAF:
    rng = np.random.default_rng(seed)
    layers, components, _ = SETTINGS[transformer]
    flow = MAF(2, rng, layers=layers, hidden=(64, 64), transformer=transformer, components=components)
    parameters = flow.parameters()
    fit(
        lambda batch, rng: flow.loss(toy.sample(len(batch), rng).astype(np.float32)),
        flow,
        np.zeros(256),  # only counted: every batch is drawn anew
        optimizer=Adam(parameters, cosine(5e-3, steps, warmup=steps // 20)),
        batch_size=256,
        rng=rng,
        steps=steps,
        ema=EMA(parameters, 0.99),
        clip=10,
        unit="nats per point",
    )
    return flow


def main() -> None:
    args = arguments(__doc__ or "", "maf", density=tuple(DENSITIES), transformer=tuple(SETTINGS))
    names = [args.density] if args.density else list(DENSITIES)[: 1 if args.quick else None]
    transformers = [args.transformer] if args.transformer else list(SETTINGS)
    start, metrics, floors = time.perf_counter(), dict[str, float](), dict[str, float]()
    for name in names:
        toy = DENSITIES[name]()
        floors[f"entropy of {name}"] = toy.entropy
        for kind in transformers:
            steps = 20 if args.quick else SETTINGS[kind][2] // len(names)
            flow = trained(toy, kind, steps, args.seed)
            rng, label = np.random.default_rng(args.seed + 1), f"{name}_{kind}"
            metrics[f"{label}_gap_nats_per_point"], metrics[f"{label}_standard_error"] = gap(flow, toy, rng)
            with no_grad():
                points = toy.sample(4000, rng), flow.sample(4000, rng)
            figure = density_and_samples(lambda x, flow=flow: flow.log_prob(x).value, *points, toy.box)  # type: ignore[misc]
            plot.save(figure, args.out / f"{label}.png")
            stages = pulled_back(flow.bijection, noise_grid())
            plot.save(latent_grid(stages, toy.box, min(4, len(stages))), args.out / f"{label}_grid.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, floors, "nats per point")


if __name__ == "__main__":
    main()
