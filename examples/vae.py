"""Claim: importance sampling from q(z|x) and the prior estimates the same ln p(x), but the prior has higher variance.

    python examples/vae.py [--only SETTING …] [--seeds 5] [--steps 1500] [--out out/vae] [--quick]

    p(x) = E_q(z|x) w,   w = p(x|z) p(z) / q(z|x)          p(x) = E_p(z) w,   w = p(x|z)

Trains:   VAEs of 1 to 16 latent dimensions on binary 8×8 digits, with KL warm-up.
Compares: the two estimates and their variances, from k = 10,000 samples of z for each of 32 test images. "The same"
          means that the mean gap is within 0.5 nats per image; "higher" that the ratio of the variances is above 1.
          Since ln p̂ is too low by about Var w / 2kp², the gap is only judged where this is below 0.025 nats. Where
          q misses a part of the posterior, which happens with 1 and 2 dimensions, its estimate is lower still.
Prints:   both estimates in nats per image, the gap, log₁₀ of the ratio of the variances and the verdict. The intervals
          hold for all latent dimensions at once.
Plots:    estimators.png (estimates, variances, KL per latent dimension); samples.png of the largest model.
Time:     about 2 minutes on two cores (measured: 1.9 minutes of CPU time; 4.7 minutes beside other processes).
Source:   Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", 2016.
"""

import numpy as np
from common.claims import Effect
from common.importance_sampling import MAX_BIAS, estimates
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training
from common.vae_plots import plot_estimates, reconstructions

from tinygen.autograd import Array, Tensor
from tinygen.data import digits
from tinygen.distributions import Bernoulli
from tinygen.models import VAE
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
SETTINGS = {f"{latent} latent": latent for latent in (1, 2, 4, 8, 16)}


def train(run: Training) -> Results:
    rng, latent = run.rng(), SETTINGS[run.setting]
    encoder, decoder = MLPEncoder((8, 8, 1), 2 * latent, rng, levels=2), MLPDecoder(latent, (8, 8, 1, 1), rng)
    model = VAE((8, 8, 1), latent, encoder, decoder, Bernoulli())
    optimizer = Adam(model.parameters(), cosine(2e-3, run.steps, warmup=run.steps // 20))

    def loss(batch: Array, *, rng: np.random.Generator) -> Tensor:  # β rises to 1 over the first third of the steps
        return model.loss(batch, rng=rng, beta=min(1.0, 3 * optimizer.steps / run.steps))

    fit(loss, model, TRAIN, optimizer=optimizer, batch_size=64, rng=rng, **run.options())
    results = estimates(model, TEST[:32], run.rng(1), k=100 if run.quick else 10_000)
    results["KL_per_dimension"] = np.sort(model.kl_per_dimension(TEST).value.mean(0))[::-1]
    return results | {"images": reconstructions(model, TEST[:16], run.rng(2))}


def show(report: Report) -> None:
    report.unit = "nats per image, or log₁₀ of a relative variance"
    judged, others = list[Effect](), list[Effect]()
    for name in SETTINGS:
        gap, bias = report.values("gap", name), report.values("bias", name)
        known = not bias.size or bias.mean() < MAX_BIAS
        limits = {"above": -0.5, "below": 0.5} if known else {}
        (judged if known else others).append(Effect(f"gap with {name}", gap, "nats", **limits))
        ratio = report.values("log_variance_prior", name) - report.values("log_variance_q", name)
        judged.append(Effect(f"log₁₀ of the variance ratio with {name}", ratio, "", above=0))
    report.decide(*judged, also=others)
    report.save(plot_estimates(report), "estimators.png")
    images = report.first("images")
    largest = list(images)[-1]
    rows = ["data", f"reconstructions, {largest}", "samples (means)"]
    report.save_grid(images[largest], "samples.png", row_labels=rows)


if __name__ == "__main__":
    study(train, show, list(SETTINGS), steps=1500, quick=20)
