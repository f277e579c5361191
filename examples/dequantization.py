"""Fit a flow to digits' grey levels with and without dequantisation: without it, the density spikes at the levels.

python examples/dequantization.py [--seed 0] [--out out/dequantization] [--quick]

The levels 0…16 of the pixels of 8×8 digits, one pixel at a time, by a mixture of 30 logistics. Their entropy is known:
that of the frequencies. With uniform noise, the mean bound cannot be below it. Without, −ln p(x / 17) + ln 17 falls as
long as the learning rate lets the spikes get narrower, and means nothing.
"""

import math
import time
from functools import partial

import numpy as np
from common.reporting import arguments, panels, report

from tinygen import Tensor, no_grad, plot
from tinygen.bijections import Affine, Chain, Dequantized, Flow
from tinygen.data import digits
from tinygen.distributions import bits_per_dim
from tinygen.models import Flow1D
from tinygen.optim import Adam, cosine
from tinygen.training import fit

LEVELS = 17


def as_it_is(flow: Flow, k: np.ndarray, rng: np.random.Generator) -> Tensor:
    """The levels at k / 17, and a density taken for a probability."""
    return flow.loss((k / LEVELS).astype(np.float32)) + math.log(LEVELS)


def main() -> None:
    args = arguments(__doc__ or "", "dequantization")
    start, rng, x = time.perf_counter(), np.random.default_rng(args.seed), digits("train").pixels.reshape(-1, 1)
    frequency = np.unique(x, return_counts=True)[1] / len(x)
    entropy = float(-np.sum(frequency * np.log(frequency)))
    steps = 40 if args.quick else 1600

    columns, densities = {}, {}
    line = np.linspace(-0.05, 1.05, 18701)  # 1000 points from level to level, one on each
    for name in ("without noise", "dequantised"):
        cdf = Flow1D(30, noise="uniform", data_range=(0, LEVELS))
        flow = Flow(Chain(Affine(LEVELS), cdf.bijection), cdf.base)  # steps of Adam are small beside a level
        model = Dequantized(flow, LEVELS)
        loss = model.loss if name == "dequantised" else partial(as_it_is, flow)
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
        columns[name] = np.array([(record.step, record.loss) for record in history.records])
        with no_grad():
            densities[name] = np.exp(flow.astype(np.float64).log_prob(line[:, None]).value)
            bound = model.log_prob_bound(x, rng, 4).value
    dequantised, error = float(-bound.mean()), float(bound.std() / np.sqrt(len(bound)))
    if dequantised < entropy - 5 * error:
        raise AssertionError(f"the bound is {dequantised:.4f} nats, below the entropy {entropy:.4f}: a wrong volume?")

    figure, (left, right) = panels(9.6, 3.4, 1, 2, width_ratios=(2, 3))
    for colour, name in zip(plot.COLOURS[1::-1], densities, strict=True):
        left.plot(*columns[name].T, color=colour, label=name)
        right.semilogy(line * LEVELS, densities[name], color=colour, linewidth=1, label=name)
    left.axhline(entropy, color="#8C8C8C", linestyle=(0, (4, 3)), linewidth=1, label="entropy of the levels")
    for axes, x_label, y_label in ((left, "step", "loss (nats per pixel)"), (right, "level", "density of the flow")):
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.legend(fontsize=8, frameon=False)
    right.set(ylim=(1e-3, None), xticks=range(0, LEVELS + 1, 4))
    plot.save(figure, args.out / "dequantization.png")

    last = float(columns["without noise"][-1, 1])
    print(
        f"\n  loss − entropy, below 0 for no probability: {last - entropy:+.2f} nats without noise, "
        f"{dequantised - entropy:+.4f} ± {error:.4f} dequantised (seed {args.seed})"
    )
    metrics = {
        "without_noise_nats_per_pixel": last,
        "dequantised_bound_nats_per_pixel": dequantised,
        "bound_bits_per_dim": bits_per_dim(dequantised, 1),
        "seconds": time.perf_counter() - start,
    }
    report(args.out, metrics, {"entropy of the levels": entropy}, "nats per pixel")


if __name__ == "__main__":
    main()
