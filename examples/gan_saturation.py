"""Claim: against a strong discriminator, the minimax gradient vanishes and the non-saturating gradient does not.

    python examples/gan_saturation.py [--seed 0] [--out out/gan_saturation] [--quick]

Trains:   GANs on data x ~ N(0, 1) with a linear generator G(z) = a z + b that starts at b = 12, with five seeds: first
          500 steps of the discriminator alone, then both alternately. The generator uses plain gradient descent,
          because Adam would normalise the vanishing gradient.
Compares: the gradient norms of both generator losses for the same networks, and the final means of the samples.
Prints:   the final mean for each seed, the ratio of the gradient norms and the verdict.
Plots:    saturation.png: gradient norms while the discriminator trains alone, then the mean of the samples.
Source:   Goodfellow et al., "Generative adversarial nets", 2014, section 3.
"""

import time
from typing import Any

import numpy as np
from common.reporting import parse_arguments, report, subplots

from tinygen import plot, value_and_grad
from tinygen.autograd import tanh
from tinygen.models import GAN
from tinygen.nn import MLP, Linear
from tinygen.optim import SGD, Adam
from tinygen.training import fit

OBJECTIVES = {"minimax": plot.COLOURS[0], "non-saturating": plot.COLOURS[1]}


def train(objective: str, alone: int, steps: int, parts: int, seed: int) -> tuple[dict[str, list[float]], list[float]]:
    """Train the discriminator for `alone` steps, then both networks for `steps`, each in `parts` equal parts.

    Returns ‖∂ loss / ∂(a, b)‖ of each generator loss over the first phase, and the mean of the samples over the second.
    """
    rng = np.random.default_rng(seed)
    generator, critic = Linear(1, 1, rng), MLP(1, (32, 32), 1, rng, activation=tanh)
    generator.load({"w": np.ones((1, 1)), "b": np.array([12.0])})
    gan, data = GAN((1,), 1, generator, critic, objective), rng.normal(size=(5000, 1))
    optimizers = [Adam(critic.parameters(), 2e-3, (0.5, 0.9)), SGD(generator.parameters(), 0.05)]
    norms, means = {name: list[float]() for name in OBJECTIVES}, [12.0]
    settings: dict[str, Any] = {"batch_size": 128, "rng": rng, "progress": False}
    for part in range(parts + 1):
        if part:
            fit(gan.critic_loss, gan, data, optimizer=optimizers[0], steps=alone // parts, **settings)
        for name in OBJECTIVES:
            same_networks = GAN((1,), 1, generator, critic, name)
            _, gradients = value_and_grad(same_networks.generator_loss, generator.parameters())(data[:1000], rng=rng)
            norms[name].append(float(np.sqrt(sum((gradient.value**2).sum() for gradient in gradients))))
    for _ in range(parts):
        losses = [gan.critic_loss, gan.generator_loss]
        fit(losses, gan, data, optimizer=optimizers, steps=steps // parts, **settings)
        means.append(float(gan.sample(5000, rng).mean()))
    return norms, means


def main() -> None:
    args = parse_arguments(__doc__ or "", "gan_saturation")
    start, (alone, steps, parts) = time.perf_counter(), (20, 20, 2) if args.quick else (500, 3000, 10)
    figure, (left, right) = subplots(7.6, 3.3, 1, 2)
    final, ratios = {name: list[float]() for name in OBJECTIVES}, []
    for seed in range(args.seed, args.seed + (2 if args.quick else 5)):
        for name in OBJECTIVES:
            norms, means = train(name, alone, steps, parts, seed)
            final[name].append(means[-1])
            right.plot(np.linspace(0, steps, parts + 1), means, color=OBJECTIVES[name], linewidth=1)
            print(f"seed {seed}, {name}: mean 12 → {means[-1]:.2f}", flush=True)
        for name, values in norms.items():  # equal for both objectives, which share the discriminator's loss
            left.semilogy(np.linspace(0, alone, parts + 1), values, color=OBJECTIVES[name], linewidth=1)
        ratios.append(norms["minimax"][-1] / norms["non-saturating"][-1])
    left.set(xlabel="steps of the discriminator alone", ylabel="norm of the generator's gradient")
    right.set(xlabel="steps of both networks", ylabel="mean of the samples (data: 0)")
    left.legend(left.lines[:2], OBJECTIVES, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.05))
    plot.save(figure, args.out / "saturation.png")
    minimax, non_saturating = np.abs(final["minimax"]), np.abs(final["non-saturating"])
    reproduced = minimax.min() > 11 and non_saturating.max() < 1
    print(f"claim: {'' if reproduced else 'not '}reproduced with {len(ratios)} seeds;")
    print(f"       after {alone} steps of the discriminator alone,")
    print(f"       ‖minimax gradient‖ / ‖non-saturating gradient‖ = {min(ratios):.0e}…{max(ratios):.0e}")
    metrics = {"minimax_max_abs_mean": minimax.max(), "minimax_min_abs_mean": minimax.min()}
    metrics |= {"non_saturating_max_abs_mean": non_saturating.max(), "seconds": time.perf_counter() - start}
    report(args.out, metrics, {}, "")


if __name__ == "__main__":
    main()
