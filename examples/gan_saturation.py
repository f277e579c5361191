"""Claim: against a strong discriminator, the minimax gradient vanishes and the non-saturating gradient does not.

    python examples/gan_saturation.py [--seeds 5] [--steps 3000] [--out out/gan_saturation] [--quick]

Trains:   GANs on data x ~ N(0, 1) with a linear generator G(z) = a z + b that starts at b = 12: first the discriminator
          alone for a sixth of the steps, then both alternately. The generator uses plain gradient descent, because Adam
          would normalise the vanishing gradient.
Compares: the gradient norms of both generator losses for the same networks, whose ratio must be below 10⁻³, and the
          final means of the samples: with minimax more than 6 away from the data, with the other less than 1.
Prints:   the final distance and the ratio of the gradient norms for each seed, and the verdict.
Plots:    saturation.png: gradient norms while the discriminator trains alone, then the mean of the samples.
Time:     less than a minute on two cores (measured: 0.4 minutes of CPU time; 0.6 minutes beside other processes).
Source:   Goodfellow et al., "Generative adversarial nets", 2014, section 3.
"""

from typing import Any

import numpy as np
from common.claims import Effect
from common.figures import subplots
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen import plot, value_and_grad
from tinygen.autograd import tanh
from tinygen.models import GAN
from tinygen.nn import MLP, Linear
from tinygen.optim import SGD, Adam
from tinygen.training import fit

MINIMAX, OTHER, START, PARTS = "minimax", "non-saturating", 12.0, 10


def train(run: Training) -> Results:
    rng, alone = run.rng(), run.steps // 6
    generator, critic = Linear(1, 1, rng), MLP(1, (32, 32), 1, rng, activation=tanh)
    generator.load({"w": np.ones((1, 1)), "b": np.array([START])})
    gan, data = GAN((1,), 1, generator, critic, run.setting), rng.normal(size=(5000, 1))
    optimizers = [Adam(critic.parameters(), 2e-3, (0.5, 0.9)), SGD(generator.parameters(), 0.05)]
    norms, means = np.zeros((2, PARTS + 1)), [START]  # norms: of the gradients of MINIMAX and OTHER
    settings: dict[str, Any] = {"batch_size": 128, "rng": rng, "progress": False}
    for part in range(PARTS + 1):
        if part:
            fit(gan.critic_loss, gan, data, optimizer=optimizers[0], steps=max(1, alone // PARTS), **settings)
        for i, objective in enumerate((MINIMAX, OTHER)):
            same_networks = GAN((1,), 1, generator, critic, objective)
            _, gradients = value_and_grad(same_networks.generator_loss, generator.parameters())(data[:1000], rng=rng)
            norms[i, part] = np.sqrt(sum((gradient.value**2).sum() for gradient in gradients))
    for _ in range(PARTS):
        losses = [gan.critic_loss, gan.generator_loss]
        fit(losses, gan, data, optimizer=optimizers, steps=max(1, run.steps // PARTS), **settings)
        means.append(float(gan.sample(5000, rng).mean()))
    results: Results = {"distance": abs(means[-1]), "log₁₀ norm ratio": float(np.log10(norms[0, -1] / norms[1, -1]))}
    return results | {"norms": norms, "means": np.array(means)}


def show(report: Report) -> None:
    report.unit = "distance of the samples' mean from the data's; log₁₀ of minimax / non-saturating gradient norms"
    report.decide(
        # Both objectives train the same discriminator, so the ratio is that of either.
        Effect("log₁₀ of the ratio of gradient norms", report.values("log₁₀ norm ratio", MINIMAX), "", below=-3),
        Effect("distance with minimax", report.values("distance", MINIMAX), "", above=6),
        Effect("distance with the other", report.values("distance", OTHER), "", below=1),
    )
    figure, (left, right) = subplots(9, 3.5, 1, 2)
    steps = report.args.steps
    for i, objective in enumerate((MINIMAX, OTHER)):
        style = {"color": plot.COLOURS[i], "linewidth": 1, "linestyle": ("-", (0, (4, 2)))[i]}
        for norms in report.values("norms", MINIMAX):
            left.semilogy(np.linspace(0, steps // 6, PARTS + 1), norms[i], label=objective, **style)
        for means in report.values("means", objective):
            right.plot(np.linspace(0, steps, PARTS + 1), means, label=objective, **style)
    left.set(xlabel="steps of the discriminator alone", ylabel="norm of the generator's gradient")
    right.set(xlabel="steps of both networks", ylabel="mean of the samples (data: 0)")
    for axes in (left, right):
        lines = {line.get_label(): line for line in axes.lines}  # one label for all seeds
        axes.legend(
            lines.values(), lines.keys(), frameon=False, fontsize=8, title="one line per seed", title_fontsize=8
        )
    report.save(figure, "saturation.png")


if __name__ == "__main__":
    study(train, show, [MINIMAX, OTHER], steps=3000, quick=20)
