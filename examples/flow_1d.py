"""Fit a one-dimensional flow to data of known entropy, with uniform and with normal noise.

python examples/flow_1d.py [--seed 0] [--out out/flow_1d] [--quick]

The data are a mixture of three Gaussians; the map is the distribution function of ten logistics. No model has an
expected negative log-likelihood below the entropy: a result that is, beyond sampling error, is an error here.
"""

import time

import numpy as np
from common.reporting import arguments, panels, report

from tinygen import no_grad, plot
from tinygen.models import Flow1D
from tinygen.optim import Adam, cosine
from tinygen.training import fit

WEIGHTS, MEANS, WIDTHS = np.array([0.3, 0.5, 0.2]), np.array([-2.0, 0.0, 1.8]), np.array([0.25, 0.8, 0.15])
BASE = {"uniform": lambda z: np.ones_like(z), "normal": lambda z: np.exp(-z * z / 2) / 2.50662827}


def draw(n: int, rng: np.random.Generator) -> np.ndarray:
    k = rng.choice(3, n, p=WEIGHTS)
    return (MEANS[k] + WIDTHS[k] * rng.standard_normal(n))[:, None]


def true_log_prob(x: np.ndarray) -> np.ndarray:
    a = (x - MEANS) / WIDTHS
    return np.asarray(np.log((WEIGHTS / WIDTHS * np.exp(-a * a / 2)).sum(-1) / np.sqrt(2 * np.pi)))


def evaluate(flow: Flow1D, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with no_grad():
        return flow.bijection.forward(x)[0].value[:, 0], flow.log_prob(x).value


def main() -> None:
    args = arguments(__doc__ or "", "flow_1d")
    start, rng, steps = time.perf_counter(), np.random.default_rng(args.seed), 30 if args.quick else 1500
    train, test = draw(20_000, rng).astype(np.float32), draw(20_000, rng)
    grid = np.linspace(-8, 8, 20_001)
    log_p = true_log_prob(grid[:, None])
    entropy = float(-np.trapezoid(np.exp(log_p) * log_p, grid))

    metrics: dict[str, float] = {}
    figure, rows = panels(9.6, 5.2, 2, 3)
    for row, noise in zip(rows, ("uniform", "normal"), strict=True):
        flow = Flow1D(10, noise=noise, data_range=(float(train.min()), float(train.max())))
        fit(
            flow.loss,
            flow,
            train,
            optimizer=Adam(flow.parameters(), cosine(0.05, steps)),
            batch_size=500,
            rng=rng,
            steps=steps,
            unit="nats",
        )
        z, log_q = evaluate(flow.astype(np.float64), test)
        above = true_log_prob(test) - log_q  # its mean estimates KL(data‖model) ≥ 0
        error = above.std() / np.sqrt(len(test))
        if above.mean() < -5 * error:
            raise AssertionError(f"{noise}: {above.mean():.4f} ± {error:.4f} nats below the least possible")
        print(f"  {noise} noise: {above.mean():.4f} ± {error:.4f} nats above the least possible on the test numbers")
        metrics |= {
            f"{noise}_test_nats": float(-log_q.mean()),
            f"{noise}_nats_above_the_data": float(above.mean()),
            f"{noise}_standard_error": float(error),
        }

        line = np.linspace(-3.5, 3, 700)
        at, density = evaluate(flow, line[:, None])
        row[0].hist(train[:, 0], 160, range=(-3.5, 3), density=True, color=plot.COLOURS[5], alpha=0.5)
        row[0].plot(line, np.exp(density), color=plot.COLOURS[0], linewidth=1.3)
        row[1].plot(line, at, color=plot.COLOURS[0], linewidth=1.3)
        row[2].hist(z, 60, density=True, color=plot.COLOURS[5], alpha=0.5)
        noises = np.linspace(z.min(), z.max(), 200)
        row[2].plot(noises, BASE[noise](noises), color=plot.COLOURS[1], linewidth=1.3)
        titles = ("data x, and density of the flow", "map z(x)", f"z of test data, and {noise} density")
        for axes, title in zip(row, titles, strict=True):
            axes.set_title(title, fontsize=9, loc="left")
        row[0].set_ylabel(f"{noise} noise", fontsize=9)
    plot.save(figure, args.out / "flow.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {"entropy of the data": entropy}, "nats")


if __name__ == "__main__":
    main()
