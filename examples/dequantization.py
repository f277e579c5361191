"""Claim: without dequantisation, the likelihood of a flow on discrete data grows without bound.

    python examples/dequantization.py [--seed 0] [--out out/dequantization] [--quick]

Trains:   a flow of 30 logistics on grey levels 0…16 of single pixels of 8×8 digits, with and without uniform noise.
Compares: both losses with the entropy of the levels. With noise, the loss is an upper bound on the negative
          log-likelihood, so its expectation is at least the entropy; a violation by more than five standard errors
          raises AssertionError. Without noise, the density spikes at the levels and the loss keeps falling.
Prints:   both losses minus the entropy, in nats per pixel.
Plots:    dequantization.png: the losses over training, and both densities.
Source:   Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016.
"""

import math
import time
from functools import partial

import numpy as np
from common.reporting import parse_arguments, report, subplots

from tinygen import Tensor, no_grad, plot
from tinygen.bijections import Affine, Chain, Dequantized, Flow
from tinygen.data import digits
from tinygen.distributions import bits_per_dim
from tinygen.models import Flow1D
from tinygen.optim import Adam, cosine
from tinygen.training import fit

LEVELS = 17


def loss_without_noise(flow: Flow, k: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Return −ln p(k / 17) + ln 17, which mistakes the density at a level for its probability."""
    return flow.loss((k / LEVELS).astype(np.float32)) + math.log(LEVELS)


def main() -> None:
    args = parse_arguments(__doc__ or "", "dequantization")
    start, rng, x = time.perf_counter(), np.random.default_rng(args.seed), digits("train").pixels.reshape(-1, 1)
    frequency = np.unique(x, return_counts=True)[1] / len(x)
    entropy = float(-np.sum(frequency * np.log(frequency)))
    steps = 40 if args.quick else 1600

    losses, densities = {}, {}
    grid = np.linspace(-0.05, 1.05, 18701)  # 1000 points per level, one of them exactly at the level
    for name in ("without noise", "dequantised"):
        cdf = Flow1D(30, noise="uniform", data_range=(0, LEVELS))
        # Rescale to unit spacing of the levels, so that Adam's steps are small.
        flow = Flow(Chain(Affine(LEVELS), cdf.bijection), cdf.base)
        model = Dequantized(flow, LEVELS)
        loss = model.loss if name == "dequantised" else partial(loss_without_noise, flow)
        history = fit(
            loss,
            flow,
            x,
            optimizer=Adam(flow.parameters(), cosine(0.02, steps)),
            batch_size=500,
            rng=rng,
            steps=steps,
            every=steps // 40,
            unit="nats",
        )
        losses[name] = np.array([(record.step, record.loss) for record in history.records])
        with no_grad():
            densities[name] = np.exp(flow.astype(np.float64).log_prob(grid[:, None]).value)
            bound = model.log_prob_bound(x, rng, 4).value
    dequantised, error = float(-bound.mean()), float(bound.std() / np.sqrt(len(bound)))
    if dequantised < entropy - 5 * error:
        raise AssertionError(f"bound: expected at least the entropy {entropy:.4f} nats, got {dequantised:.4f}")

    figure, (left, right) = subplots(9.6, 3.4, 1, 2, width_ratios=(2, 3))
    for colour, name in zip(plot.COLOURS[1::-1], densities, strict=True):
        left.plot(*losses[name].T, color=colour, label=name)
        right.semilogy(grid * LEVELS, densities[name], color=colour, linewidth=1, label=name)
    left.axhline(entropy, color=plot.FAINT, linestyle=(0, (4, 3)), linewidth=1, label="entropy of the levels")
    for axes, xlabel, ylabel in (
        (left, "step", "loss (nats per pixel)"),
        (right, "grey level", "density at level / 17"),
    ):
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(fontsize=8, frameon=False)
    right.set(ylim=(1e-3, None), xticks=range(0, LEVELS + 1, 4))
    plot.save(figure, args.out / "dequantization.png")

    last = float(losses["without noise"][-1, 1])
    print(f"\n  Loss − entropy, negative only if the loss does not bound −ln P(x) (seed {args.seed}):")
    print(f"  {last - entropy:+.2f} nats per pixel without noise")
    print(f"  {dequantised - entropy:+.4f} ± {error:.4f} nats per pixel with noise")
    metrics = {
        "without_noise_nats_per_pixel": last,
        "dequantised_bound_nats_per_pixel": dequantised,
        "bound_bits_per_dim": bits_per_dim(dequantised, 1),
        "seconds": time.perf_counter() - start,
    }
    report(args.out, metrics, {"entropy of the levels": entropy}, "nats per pixel")


if __name__ == "__main__":
    main()
