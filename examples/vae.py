"""Claim: codes from the prior and codes from q(z|x) estimate one ln p(x), but the variances of the two differ.

python examples/vae.py [--seed 0] [--out out/vae] [--quick]

    p(x) = E_p(z) w, w = p(x|z)         p(x) = E_q(z|x) w, w = p(x|z) p(z) / q(z|x)

VAEs of 1 to 16 latent numbers, on binary 8×8 digits, with a KL warm-up. Each estimate takes 10,000 codes for each of 32
test images, five times. ln p̂ is about Var w / 2kp² too low: "the same" is judged where that is below 0.025 nats.
"""

import time

import numpy as np
from reporting import arguments, report
from vae_pictures import picture, reconstructions

from tinygen import no_grad, plot
from tinygen.autograd import Array, Tensor
from tinygen.data import digits
from tinygen.distributions import Bernoulli
from tinygen.models import VAE
from tinygen.models.image_networks import MLPDecoder, MLPEncoder
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


def estimate(model: VAE, x: Array, rng: np.random.Generator, k: int, from_prior: bool) -> tuple[float, float]:
    """Mean over the images of ln p̂ in nats, and of log₁₀(Var w / p̂²)."""
    log_w = np.empty((k, len(x)))
    with no_grad():
        for part in np.split(log_w, 10):  # in bounded memory
            z = rng.standard_normal((len(part), len(x), model.latent), np.float32)
            part[:] = (model.log_likelihood(x, Tensor(z)) if from_prior else model.log_weights(x, len(part), rng)).value
    w = np.exp(log_w - (top := log_w.max(0)))
    return float((np.log(w.mean(0)) + top).mean()), float(np.log10(w.var(0) / w.mean(0) ** 2).mean())


def main() -> None:
    args = arguments(__doc__ or "", "vae")
    start, steps, k, repeats = time.perf_counter(), *((20, 100, 2) if args.quick else (2000, 10_000, 5))
    rng, train, test = np.random.default_rng(args.seed), digits("train", threshold=8), digits("test", threshold=8)
    found: dict[int, Array] = {}
    kl: dict[int, Array] = {}
    metrics: dict[str, float] = {}
    x, agree, larger = test.pixels[:32], [], []
    for latent in (1, 2) if args.quick else (1, 2, 4, 8, 16):
        model = trained(latent, train.pixels, rng, steps)
        turns = [[estimate(model, x, rng, k, prior) for prior in (False, True)] for _ in range(repeats)]
        found[latent] = np.array(turns)  # (repeats, from q or the prior, ln p̂ or log₁₀ variance)
        kl[latent] = np.sort(model.kl_per_dimension(test.pixels).value.mean(0))[::-1]
        gaps, ratios = found[latent][:, 0, 0] - found[latent][:, 1, 0], np.diff(found[latent][..., 1])[:, 0]
        error, bias = gaps.std(ddof=1) / np.sqrt(repeats), (10 ** found[latent][..., 1].mean(0)).max() / (2 * k)
        agree += [abs(gaps.mean()) < 4 * error + bias] if bias < 0.025 else []
        larger.append(ratios.min() > 0)
        (q, _), (prior, _) = found[latent].mean(0)
        print(f"{latent} latent: ln p̂ {q:.3f} from q, {prior:.3f} from the prior, gap {gaps.mean():.3f} ± {error:.3f}"
              f"{'' if bias < 0.025 else ' (not judged)'}; variance {10 ** ratios.mean():,.1f} × as large")  # fmt: skip
        metrics |= {f"log_p_{latent}_latent_nats": q, f"variance_ratio_{latent}_latent": 10 ** ratios.mean()}
    verdict = "reproduced" if agree and all(agree) and all(larger) else "not reproduced"
    print(f"claim: {verdict}; one ln p(x) in {sum(agree)} of {len(agree)} cases that are judged, "
          f"more variance from the prior in all of {repeats} repeats in {sum(larger)} of {len(larger)}")  # fmt: skip
    plot.save(picture(found, kl), args.out / "estimators.png")
    plot.save(reconstructions(model, x[:16], rng), args.out / "samples.png")  # of the largest
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
