"""Claim: without dequantisation, the likelihood of a flow on discrete data grows without bound.

    python examples/dequantization.py [--seeds 5] [--steps 800] [--out out/dequantization] [--quick]

Trains:   a flow of 30 logistics on grey levels 0…16 of single pixels of 8×8 digits: with uniform noise, and without it
          for ¼, ½ and all of the steps.
Compares: the losses with the entropy of the levels. Without noise, the density spikes at the levels. The loss then
          depends on the number of steps, so the claim is that it is below the entropy and falls by more than 1 nat
          each time the steps double. With more than about 1600 steps, the spikes are narrower than Adam's steps, and
          the final loss varies. With noise, the loss bounds −ln P(x), so it is at least the entropy; a violation by
          more than five standard errors raises AssertionError.
Prints:   the losses in nats per pixel, the entropy and the verdict.
Plots:    dequantization.png: the losses over training, and the densities of the longest runs.
Time:     less than a minute on two cores (measured: 0.3 minutes of CPU time; 3.9 minutes beside other processes).
Source:   Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016.
"""

import math

import numpy as np
from common.claims import Effect
from common.figures import subplots
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen import Tensor, no_grad, plot
from tinygen.bijections import Affine, Chain, Dequantized, Flow
from tinygen.data import digits
from tinygen.models import Flow1D
from tinygen.optim import Adam, cosine
from tinygen.training import fit

LEVELS, PIXELS = 17, digits("train").pixels.reshape(-1, 1)
FREQUENCY = np.unique(PIXELS, return_counts=True)[1] / len(PIXELS)
ENTROPY = float(-np.sum(FREQUENCY * np.log(FREQUENCY)))
NOISE, PARTS = "with noise", {"no noise, steps / 4": 4, "no noise, steps / 2": 2, "no noise, all steps": 1}
GRID = np.linspace(-0.05, 1.05, 18701)  # 1000 points per level, one of them exactly at the level


def train(run: Training) -> Results:
    rng, steps = run.rng(), max(1, run.steps // PARTS.get(run.setting, 1))
    cdf = Flow1D(30, noise="uniform", data_range=(0, LEVELS))
    # Rescale to unit spacing of the levels, so that Adam's steps are small.
    flow = Flow(Chain(Affine(LEVELS), cdf.bijection), cdf.base)
    model = Dequantized(flow, LEVELS)

    def loss_without_noise(k: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Return −ln p(k / 17) + ln 17, which mistakes the density at a level for its probability."""
        return flow.loss((k / LEVELS).astype(np.float32)) + math.log(LEVELS)

    loss, adam = (
        model.loss if run.setting == NOISE else loss_without_noise,
        Adam(flow.parameters(), cosine(0.02, steps)),
    )
    options = {**run.options(), "steps": steps, "every": max(1, steps // 40)}
    records = fit(loss, flow, PIXELS, optimizer=adam, batch_size=500, rng=rng, **options).records
    with no_grad():
        density = np.exp(flow.astype(np.float64).log_prob(GRID[:, None]).value)
        bound = -model.log_prob_bound(PIXELS, rng, 4).value
    final = float(bound.mean()) if run.setting == NOISE else records[-1].loss
    if run.setting == NOISE and final < ENTROPY - 5 * bound.std() / math.sqrt(len(bound)):
        raise AssertionError(f"bound: expected at least the entropy {ENTROPY:.4f} nats, got {final:.4f}")
    return {"loss": final, "curve": np.array([(each.step, each.loss) for each in records]), "density": density}


def show(report: Report) -> None:
    report.unit, report.baselines = "nats per pixel", {"entropy of the levels": ENTROPY}
    short, _, full = PARTS
    report.decide(
        Effect("loss − entropy without noise", report.values("loss", full) - ENTROPY, "nats per pixel", below=0),
        Effect("fall per doubling of the steps", report.difference("loss", short, full) / 2, "nats per pixel", above=1),
        also=[Effect("loss − entropy with noise", report.values("loss", NOISE) - ENTROPY, "nats per pixel")],
    )
    figure, (left, right) = subplots(9.6, 3.6, 1, 2, width_ratios=(2, 3))
    for (setting, curve), colour in zip(report.first("curve").items(), plot.COLOURS, strict=False):
        left.semilogx(*curve.T, color=colour, label=setting)
        if setting in (full, NOISE):
            right.semilogy(GRID * LEVELS, report.first("density")[setting], color=colour, linewidth=1, label=setting)
    left.axhline(ENTROPY, color=plot.FAINT, linestyle=(0, (4, 3)), linewidth=1, label="entropy of the levels")
    left.set(xlabel="step", ylabel="loss (nats per pixel)")
    right.set(xlabel="grey level", ylabel="density at level / 17", xticks=range(0, LEVELS + 1, 4))
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    report.save(figure, "dequantization.png")


if __name__ == "__main__":
    study(train, show, [NOISE, *PARTS], steps=800, quick=40)
