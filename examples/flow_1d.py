"""Claim: a one-dimensional flow of ten logistics fits a mixture of three Gaussians to within 0.01 nats of its entropy.

    python examples/flow_1d.py [--seed 0] [--out out/flow_1d] [--quick]

Trains:   a flow whose bijection is the CDF of a mixture of ten logistics, with a uniform and with a normal base.
Compares: the test loss of each with the entropy, the minimum expected loss of any model. A test loss more than five
          standard errors below the entropy raises AssertionError.
Prints:   KL(data‖model) in nats for both base distributions, and the entropy.
Plots:    flow.png: data and density, the map z(x), z of the test data and the base density.
"""

import time

import numpy as np
from common.reporting import parse_arguments, report, subplots

from tinygen import no_grad, plot
from tinygen.models import Flow1D
from tinygen.optim import Adam, cosine
from tinygen.training import fit

WEIGHTS, MEANS, STDS = np.array([0.3, 0.5, 0.2]), np.array([-2.0, 0.0, 1.8]), np.array([0.25, 0.8, 0.15])
BASE_DENSITY = {"uniform": lambda z: np.ones_like(z), "normal": lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi)}


def sample_data(n: int, rng: np.random.Generator) -> np.ndarray:
    k = rng.choice(3, n, p=WEIGHTS)
    return (MEANS[k] + STDS[k] * rng.standard_normal(n))[:, None]


def true_log_prob(x: np.ndarray) -> np.ndarray:
    a = (x - MEANS) / STDS
    return np.asarray(np.log((WEIGHTS / STDS * np.exp(-a * a / 2)).sum(-1) / np.sqrt(2 * np.pi)))


def evaluate(flow: Flow1D, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z(x) and ln q(x), both (N,)."""
    with no_grad():
        return flow.bijection.forward(x)[0].value[:, 0], flow.log_prob(x).value


def main() -> None:
    args = parse_arguments(__doc__ or "", "flow_1d")
    start, rng, steps = time.perf_counter(), np.random.default_rng(args.seed), 30 if args.quick else 1500
    train, test = sample_data(20_000, rng).astype(np.float32), sample_data(20_000, rng)
    grid = np.linspace(-8, 8, 20_001)
    log_p = true_log_prob(grid[:, None])
    entropy = float(-np.trapezoid(np.exp(log_p) * log_p, grid))

    metrics: dict[str, float] = {}
    figure, rows = subplots(9.6, 5.2, 2, 3)
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
        log_ratio = true_log_prob(test) - log_q  # its mean estimates KL(data‖model) ≥ 0
        kl, error = float(log_ratio.mean()), float(log_ratio.std() / np.sqrt(len(test)))
        if kl < -5 * error:
            raise AssertionError(f"{noise} base: expected KL ≥ 0, got {kl:.4f} ± {error:.4f} nats")
        print(f"  {noise} base: KL(data‖model) = {kl:.4f} ± {error:.4f} nats")
        metrics |= {f"{noise}_test_nats": float(-log_q.mean()), f"{noise}_kl_nats": kl}
        metrics[f"{noise}_standard_error"] = error

        x = np.linspace(-3.5, 3, 700)
        z_of_x, log_density = evaluate(flow, x[:, None])
        row[0].hist(train[:, 0], 160, range=(-3.5, 3), density=True, color=plot.COLOURS[5], alpha=0.5)
        row[0].plot(x, np.exp(log_density), color=plot.COLOURS[0], linewidth=1.3)
        row[0].set(xlabel="x", ylabel=f"{noise} base\nprobability density")
        row[1].plot(x, z_of_x, color=plot.COLOURS[0], linewidth=1.3)
        row[1].set(xlabel="x", ylabel="z(x)")
        row[2].hist(z, 60, density=True, color=plot.COLOURS[5], alpha=0.5)
        line = np.linspace(z.min(), z.max(), 200)
        row[2].plot(line, BASE_DENSITY[noise](line), color=plot.COLOURS[1], linewidth=1.3)
        row[2].set(xlabel="z", ylabel="probability density")
    titles = ("data (histogram) and flow (line)", "bijection", "test data (histogram) and base (line)")
    for axes, title in zip(rows[0], titles, strict=True):
        axes.set_title(title, fontsize=9, loc="left")
    plot.save(figure, args.out / "flow.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {"entropy of the data": entropy}, "nats")


if __name__ == "__main__":
    main()
