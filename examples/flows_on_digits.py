"""RealNVP, Glow and MAF on 8×8 digits, dequantised: bits per dimension beside two models that are fitted exactly.

python examples/flows_on_digits.py [--seed 0] [--out out/flows_on_digits] [--quick]

The held-out tenth of the training images decides which parameters are kept; the test images are looked at once.
"""

import math
import time

import numpy as np
from common.flow_digits import DIMENSIONS, LEVELS, bits, split, train
from common.reporting import arguments, report
from numpy.typing import NDArray

from tinygen import plot
from tinygen.bijections import ActNorm, Chain, Flow, Reshape
from tinygen.distributions import bits_per_dim
from tinygen.models import MAF, Glow, RealNVP

SHAPE = (8, 8, 1)


def flows(rng: np.random.Generator) -> dict[str, Flow]:
    maf = MAF(DIMENSIONS, rng, layers=5, hidden=(128,))
    return {
        "RealNVP": RealNVP(SHAPE, rng, layers=4, scales=2, hidden=32, depth=1),
        "Glow": Glow(SHAPE, rng, scales=2, steps=6, hidden=64),
        # a MAF starts at random and not as the identity: what it is given must not be large
        "MAF": Flow(Chain(Reshape(SHAPE, (DIMENSIONS,)), ActNorm(DIMENSIONS), maf.bijection), maf.base, SHAPE),
    }


def histograms(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> float:
    """Bits per dimension of independent pixels, the frequency of each level smoothed by half a count."""
    counts = (train.reshape(-1, DIMENSIONS, 1) == np.arange(LEVELS)).sum(0) + 0.5
    log_p = np.log(counts / counts.sum(-1, keepdims=True))
    return float(-log_p[np.arange(DIMENSIONS), test.reshape(-1, DIMENSIONS)].mean() / math.log(2))


def gaussian(train: NDArray[np.uint8], test: NDArray[np.uint8], rng: np.random.Generator) -> float:
    """Bits per dimension of a Gaussian with full covariance on k + u: mean and covariance are those of the data."""
    x, y = ((pixels + rng.random(pixels.shape)).reshape(-1, DIMENSIONS) for pixels in (train, test))
    root = np.linalg.cholesky(np.cov(x.T))
    squares = (np.linalg.solve(root, (y - x.mean(0)).T) ** 2).sum(0)
    nats = 0.5 * squares.mean() + np.log(np.diag(root)).sum() + 0.5 * DIMENSIONS * math.log(2 * math.pi)
    return bits_per_dim(float(nats), DIMENSIONS)


def main() -> None:
    args = arguments(__doc__ or "", "flows_on_digits")
    start, rng, steps = time.perf_counter(), np.random.default_rng(args.seed), 10 if args.quick else 800
    fitted, held_out, test = split(rng)
    metrics: dict[str, float] = {}
    images, names = [test[:12]], ["data"]
    for name, flow in flows(rng).items():
        trained = train(flow, fitted, held_out, steps, 2e-3, args.seed)
        metrics[f"{name}_test_bits_per_dim"] = bits(trained, test, rng)
        print(f"{name}: {metrics[f'{name}_test_bits_per_dim']:.3f} bits/dim", flush=True)
        images.append(trained.sample(12, rng).astype(np.uint8))
        names.append(name)
    everything = np.concatenate([fitted, held_out])
    baselines = {
        "independent histograms": histograms(everything, test),
        "Gaussian, full covariance": gaussian(everything, test, rng),
    }
    figure = plot.sample_grid(np.concatenate(images), levels=LEVELS, row_labels=names)
    plot.save(figure, args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, baselines, "bits per dimension")


if __name__ == "__main__":
    main()
