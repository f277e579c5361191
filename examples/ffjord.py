"""Claim: a continuous flow (FFJORD) fits two-dimensional densities to within 0.1 nats of their entropy.

    python examples/ffjord.py [--only DENSITY …] [--seeds 5] [--steps 2500] [--out out/ffjord] [--quick]

Trains:   FFJORD with an adaptive solver and a penalty on the kinetic energy, which limits the solver's evaluations,
          on three standardised densities of known entropy H, with fresh samples at every step.
Compares: KL(p‖q) = E[−ln q(x)] − H with 0.1 nats, estimated as the mean of ln p(x) − ln q(x) over fresh samples, with
          an adaptive solver. An estimate more than five standard errors below zero raises AssertionError.
Prints:   the KL divergences in nats per point, velocity evaluations per solve, the entropies and the verdict.
Plots:    densities.png (data, samples, density), over_time.png (the density at five times), grids.png (a grid of the
          noise space mapped to the data space) and an animation of the grid for each density.
Time:     about 31 minutes on two cores (measured: 31.2 minutes of CPU time; 83 minutes beside other processes).
Source:   Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: free-form continuous dynamics for scalable
          reversible generative models", 2019; Finlay, Jacobsen, Nurbekyan & Oberman, "How to train your neural ODE: the
          world of Jacobian and kinetic regularization", 2020.
"""

from itertools import pairwise

import numpy as np
from common.claims import Effect
from common.figures import subplots
from common.flow_plots import arrays_to_plot, plot_densities
from common.report import Report
from common.storage import Results
from common.study import study
from common.toy_densities import DENSITIES, density_of, kl_divergence, train_flow
from common.training import Training
from common.warped_grids import grid_lines, plot_grids, write_gif
from matplotlib.figure import Figure

from tinygen import no_grad
from tinygen.bijections import Affine, Chain, Flow
from tinygen.models import FFJORD

TIMES = (1, 0.75, 0.5, 0.25, 0)  # of the base distribution … of the model


def density_over_time(flow: FFJORD, cells: int) -> np.ndarray:
    """Return the density of x(t) on a grid over [−3, 3]² at each of TIMES, (5, cells, cells)."""
    points = np.stack(np.meshgrid(*[np.linspace(-3, 3, cells, dtype=np.float32)] * 2), axis=-1).reshape(-1, 2)
    solved = [flow.bijection.solve(points, t, 1.0).y for t in TIMES]
    return np.stack([np.exp((flow.base.log_prob(z) + log_det).value).reshape(cells, cells) for z, log_det in solved])


def train(run: Training) -> Results:
    toy, rng = density_of(run.setting), run.rng()
    data = toy.sample(10_000, rng)
    mean, std = data.mean(0), data.std(0)
    flow = FFJORD(2, rng, steepness=8, kinetic=0.05)
    scaled = Flow(Chain(Affine(1 / std, -mean / std), flow.bijection), flow.base)
    train_flow(run, flow, lambda x: flow.loss(((x - mean) / std).astype(np.float32)), toy, lr=1e-2, batch=256, clip=1)
    kl = kl_divergence(scaled.log_prob, toy, run.rng(2), 1000 if run.quick else 20_000)
    with no_grad():
        x = ((toy.sample(1000, rng) - mean) / std).astype(np.float32)
        evaluations = flow.bijection.solve(x, 0.0, 1.0).evaluations
        stages = [grid_lines(points=50 if run.quick else 500).reshape(-1, 2).astype(np.float32)]
        for t0, t1 in pairwise(np.linspace(1, 0, 2 if run.quick else 13)):
            stages.append(flow.bijection.solve(stages[-1], t0, t1, log_det=False).y[0].value)
        lines = [(std * stage.astype(np.float64) + mean).reshape(50, -1, 2) for stage in stages]
        if run.first:
            write_gif(lines, toy.box, run.out / f"{run.setting}.gif", frames=1 if run.quick else 4)
        log_q = lambda x: scaled.log_prob(x.astype(np.float32))
        cells = 20 if run.quick else 200
        arrays = arrays_to_plot(log_q, scaled.sample(4000, run.rng(3)), lines, toy.box, cells)
        return {"KL": kl, "evaluations": evaluations, "over_time": density_over_time(flow, cells // 2), **arrays}


def plot_over_time(report: Report) -> Figure:
    figures = report.first("over_time")
    figure, rows = subplots(11, 2.5 * len(figures), len(figures), len(TIMES), squeeze=False)
    for row, (setting, densities) in zip(rows, figures.items(), strict=True):
        for axes, t, p in zip(row, TIMES, densities, strict=True):
            axes.imshow(p, extent=(-3, 3, -3, 3), origin="lower", cmap="Blues", vmin=0)
            axes.set_title(f"{setting}: noise, t = 1" if t == 1 else f"→ t = {t}" + " (data)" * (t == 0), fontsize=9)
            axes.set(xticks=(-3, 3), yticks=(-3, 3), xlabel="x₁, standardised", ylabel="x₂, standardised")
    return figure


def show(report: Report) -> None:
    report.unit = "nats per point"
    report.baselines = {f"entropy of {name}": DENSITIES[name]().entropy for name in report.results}
    report.decide(*(Effect(f"KL on {name}", report.values("KL", name), "nats", below=0.1) for name in DENSITIES))
    report.save(plot_densities(report), "densities.png")
    report.save(plot_over_time(report), "over_time.png")
    report.save(plot_grids(report), "grids.png")


if __name__ == "__main__":
    study(train, show, list(DENSITIES), steps=2500, quick=3)
