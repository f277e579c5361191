"""Claim: importance sampling from q(z|x) and the prior estimates the same ln p(x), but the prior has higher variance.

    python examples/vae.py [--seed 0] [--out out/vae] [--quick]

    p(x) = E_q(z|x) w,   w = p(x|z) p(z) / q(z|x)          p(x) = E_p(z) w,   w = p(x|z)

Trains:   VAEs of 1 to 16 latent dimensions on binary 8×8 digits, with KL warm-up.
Compares: the two estimates and their variances, from k = 10,000 samples of z for each of 32 test images, five times.
          Since ln p̂ is too low by about Var w / 2kp², estimates are only compared where this is below 0.025 nats.
Prints:   both estimates in nats per image, the ratio of the variances and the verdict.
Plots:    estimators.png (estimates, variances, KL per latent dimension); samples.png of the largest model.
Source:   Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", 2016.
"""

import time

import numpy as np
from common.importance_sampling import Comparison, verdict
from common.reporting import parse_arguments, report
from common.vae_plots import plot_estimates, reconstructions

from tinygen import plot
from tinygen.autograd import Array, Tensor
from tinygen.data import digits
from tinygen.distributions import Bernoulli
from tinygen.models import VAE
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import Adam, cosine
from tinygen.training import fit


def train(latent: int, x: Array, rng: np.random.Generator, steps: int) -> VAE:
    encoder, decoder = MLPEncoder((8, 8, 1), 2 * latent, rng, levels=2), MLPDecoder(latent, (8, 8, 1, 1), rng)
    model = VAE((8, 8, 1), latent, encoder, decoder, Bernoulli())
    optimizer = Adam(model.parameters(), cosine(2e-3, steps, warmup=steps // 20))

    def loss(batch: Array, *, rng: np.random.Generator) -> Tensor:  # β rises to 1 over the first third of the steps
        return model.loss(batch, rng=rng, beta=min(1.0, 3 * optimizer.steps / steps))

    fit(loss, model, x, optimizer=optimizer, batch_size=64, rng=rng, steps=steps)
    return model


def main() -> None:
    args = parse_arguments(__doc__ or "", "vae")
    start = time.perf_counter()
    steps, k, repeats = (20, 100, 2) if args.quick else (2000, 10_000, 5)
    rng = np.random.default_rng(args.seed)
    images, test = digits("train", threshold=8), digits("test", threshold=8)
    results: dict[int, Comparison] = {}
    kl: dict[int, Array] = {}
    metrics: dict[str, float] = {}
    x = test.pixels[:32]
    for latent in (1, 2) if args.quick else (1, 2, 4, 8, 16):
        model = train(latent, images.pixels, rng, steps)
        results[latent] = comparison = Comparison.measure(model, x, rng, k, repeats)
        kl[latent] = np.sort(model.kl_per_dimension(test.pixels).value.mean(0))[::-1]
        print(f"{latent} latent: {comparison}")
        metrics[f"log_p_{latent}_latent_nats"] = float(comparison.log_p[:, 0].mean())
        metrics[f"variance_ratio_{latent}_latent"] = float(10 ** comparison.log_ratios.mean())
    print(f"claim: {verdict(results.values())}")
    plot.save(plot_estimates(results, kl), args.out / "estimators.png")
    plot.save(reconstructions(model, x[:16], rng), args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
