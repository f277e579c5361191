"""Claim: codes from the prior and codes from q(z|x) estimate one ln p(x), but the variances of the two differ.

python examples/vae.py [--seed 0] [--out out/vae] [--quick]

    p(x) = E_p(z) w, w = p(x|z)         p(x) = E_q(z|x) w, w = p(x|z) p(z) / q(z|x)

VAEs of 1 to 16 latent numbers, on binary 8×8 digits, with a KL warm-up. Each estimate takes 10,000 codes for each of 32
test images, five times. ln p̂ is about Var w / 2kp² too low: "the same" is judged where that is below 0.025 nats.
"""

import time

import numpy as np
from common.estimators import Compared, verdict
from common.reporting import arguments, report
from common.vae_pictures import picture, reconstructions

from tinygen import plot
from tinygen.autograd import Array, Tensor
from tinygen.data import digits
from tinygen.distributions import Bernoulli
from tinygen.models import VAE
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import Adam, cosine
from tinygen.training import fit


def trained(latent: int, x: Array, rng: np.random.Generator, steps: int) -> VAE:
    encoder, decoder = MLPEncoder((8, 8, 1), 2 * latent, rng, levels=2), MLPDecoder(latent, (8, 8, 1, 1), rng)
    model = VAE((8, 8, 1), latent, encoder, decoder, Bernoulli())
    optimizer = Adam(model.parameters(), cosine(2e-3, steps, warmup=steps // 20))

    def loss(batch: Array, *, rng: np.random.Generator) -> Tensor:  # β is 1 after the first third of the steps
        return model.loss(batch, rng=rng, beta=min(1.0, 3 * optimizer.steps / steps))

    fit(loss, model, x, optimizer=optimizer, batch_size=64, rng=rng, steps=steps)
    return model


def main() -> None:
    args = arguments(__doc__ or "", "vae")
    start = time.perf_counter()
    steps, k, repeats = (20, 100, 2) if args.quick else (2000, 10_000, 5)
    rng = np.random.default_rng(args.seed)
    train, test = digits("train", threshold=8), digits("test", threshold=8)
    found: dict[int, Compared] = {}
    kl: dict[int, Array] = {}
    metrics: dict[str, float] = {}
    x = test.pixels[:32]
    for latent in (1, 2) if args.quick else (1, 2, 4, 8, 16):
        model = trained(latent, train.pixels, rng, steps)
        found[latent] = compared = Compared.of(model, x, rng, k, repeats)
        kl[latent] = np.sort(model.kl_per_dimension(test.pixels).value.mean(0))[::-1]
        print(f"{latent} latent: {compared}")
        metrics[f"log_p_{latent}_latent_nats"] = float(compared.log_p[:, 0].mean())
        metrics[f"variance_ratio_{latent}_latent"] = float(10 ** compared.ratios.mean())
    print(f"claim: {verdict(found.values())}")
    plot.save(picture(found, kl), args.out / "estimators.png")
    plot.save(reconstructions(model, x[:16], rng), args.out / "samples.png")  # of the largest
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
