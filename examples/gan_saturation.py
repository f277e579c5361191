"""Claim: where the critic wins, the minimax loss starves its generator, which never leaves a bad start; −ln D does.

python examples/gan_saturation.py [--seed 0] [--out out/gan_saturation] [--quick]

Data x ~ N(0, 1), samples G(z) = a z + b from b = 12. Left: G stands still while the critic learns. Right: after 500
steps of the critic alone both move in turns, G by plain gradient descent: Adam would divide a small gradient by itself.
"""

import time
from typing import Any

import numpy as np
from common.reporting import arguments, panels, report

from tinygen import plot, value_and_grad
from tinygen.autograd import tanh
from tinygen.models import GAN
from tinygen.nn import MLP, Linear
from tinygen.optim import SGD, Adam
from tinygen.training import fit

OBJECTIVES = {"minimax": plot.COLOURS[0], "non-saturating": plot.COLOURS[1]}


def play(objective: str, alone: int, steps: int, parts: int, seed: int) -> tuple[dict[str, list[float]], list[float]]:
    """Return ‖∂ loss / ∂(a, b)‖ of both losses at moments while the critic learns alone; then b as both sides do."""
    rng = np.random.default_rng(seed)
    generator, critic = Linear(1, 1, rng), MLP(1, (32, 32), 1, rng, activation=tanh)
    generator.load({"w": np.ones((1, 1)), "b": np.array([12.0])})
    gan, data = GAN((1,), 1, generator, critic, objective), rng.normal(size=(5000, 1))
    sides = [Adam(critic.parameters(), 2e-3, (0.5, 0.9)), SGD(generator.parameters(), 0.05)]
    norms, means = {name: list[float]() for name in OBJECTIVES}, [12.0]
    settings: dict[str, Any] = {"batch_size": 128, "rng": rng, "progress": False}
    for part in range(parts + 1):
        if part:
            fit(gan.critic_loss, gan, data, optimizer=sides[0], steps=alone // parts, **settings)
        for name in OBJECTIVES:
            rival = GAN((1,), 1, generator, critic, name)  # the same networks under either
            _, slopes = value_and_grad(rival.generator_loss, generator.parameters())(data[:1000], rng=rng)
            norms[name].append(float(np.sqrt(sum((slope.value**2).sum() for slope in slopes))))
    for _ in range(parts):
        fit([gan.critic_loss, gan.generator_loss], gan, data, optimizer=sides, steps=steps // parts, **settings)
        means.append(float(gan.sample(5000, rng).mean()))
    return norms, means


def main() -> None:
    args = arguments(__doc__ or "", "gan_saturation")
    start, (alone, steps, parts) = time.perf_counter(), (20, 20, 2) if args.quick else (500, 3000, 10)
    figure, (left, right) = panels(7.6, 3.3, 1, 2)
    ends, shares = {name: list[float]() for name in OBJECTIVES}, []
    for seed in range(args.seed, args.seed + (2 if args.quick else 5)):
        for name in OBJECTIVES:
            norms, means = play(name, alone, steps, parts, seed)
            ends[name].append(means[-1])
            right.plot(np.linspace(0, steps, parts + 1), means, color=OBJECTIVES[name], linewidth=1)
            print(f"seed {seed}, {name}: mean 12 → {means[-1]:.2f}", flush=True)
        for name, values in norms.items():  # the critic's first steps are the same for both
            left.semilogy(np.linspace(0, alone, parts + 1), values, color=OBJECTIVES[name], linewidth=1)
        shares.append(norms["minimax"][-1] / norms["non-saturating"][-1])
    left.set(xlabel="steps of the critic alone", ylabel="norm of the generator's gradient")
    right.set(xlabel="steps of both", ylabel="mean of the samples (data: 0)")
    left.legend(left.lines[:2], OBJECTIVES, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.05))
    plot.save(figure, args.out / "saturation.png")
    stuck, left_it = np.min(np.abs(ends["minimax"])) > 11, np.max(np.abs(ends["non-saturating"])) < 1
    verdict = f"{'' if stuck and left_it else 'not '}reproduced with {len(shares)} seeds"
    print(f"claim: {verdict}; minimax's gradient fell to {min(shares):.0e}…{max(shares):.0e} of the other's")
    metrics = {f"{name.replace('-', '_')}_farthest_end": float(np.max(np.abs(ends[name]))) for name in OBJECTIVES}
    metrics |= {"minimax_nearest_end": float(np.min(np.abs(ends["minimax"]))), "seconds": time.perf_counter() - start}
    report(args.out, metrics, {}, "")


if __name__ == "__main__":
    main()
