"""Claim: a Wasserstein critic with a gradient penalty catches more modes than the minimax loss does; over five seeds.

python examples/gan_modes.py [--seed 0] [--out out/gan_modes] [--quick] [--density ring|grid]

Eight Gaussians on a ring, twenty-five on a grid; mode_counts.py says what counts as caught. Networks, rates and the
generator's steps are the same for all losses; the Wasserstein critic moves twice for each of these, the others once.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product, repeat

import numpy as np
from mode_counts import Points, caught_and_good, picture
from reporting import arguments, report

from tinygen import plot
from tinygen.autograd.kernels.threads import set_threads
from tinygen.data import grid_of_gaussians, ring_of_gaussians
from tinygen.models import GAN
from tinygen.nn import MLP
from tinygen.optim import Adam, cosine
from tinygen.training import fit

DENSITIES = {"ring": ring_of_gaussians(), "grid": grid_of_gaussians()}
TURNS = {"minimax": [0, 1], "non-saturating": [0, 1], "wasserstein": [0, 0, 1]}  # a generator's step in each
LATENT = 8


def samples_of(job: tuple[str, int, str], steps: int) -> Points:
    name, seed, objective = job
    rng, turns = np.random.default_rng(seed), TURNS[objective]
    data = DENSITIES[name].sample(50_000, rng).astype(np.float32)
    generator, critic = MLP(LATENT, (64, 64), 2, rng), MLP(2, (64, 64), 1, rng)
    gan = GAN((2,), LATENT, generator, critic, objective, 0.1 if objective == "wasserstein" else None)
    optimizers = [
        Adam(network.parameters(), cosine(3e-3, steps * turns.count(side)), (0.5, 0.9))
        for side, network in enumerate((critic, generator))
    ]
    losses, moves = [gan.critic_loss, gan.generator_loss], steps * len(turns)
    fit(losses, gan, data, optimizer=optimizers, turns=turns, batch_size=128, steps=moves, rng=rng, progress=False)
    return gan.sample(5000, rng)


def main() -> None:
    args = arguments(__doc__ or "", "gan_modes", density=tuple(DENSITIES))
    start, names = time.perf_counter(), [args.density] if args.density else list(DENSITIES)
    seeds = range(args.seed, args.seed + (1 if args.quick else 5))
    jobs, results = list(product(names, seeds, TURNS)), []
    with ProcessPoolExecutor(initializer=set_threads, initargs=(1,)) as pool:  # small networks: a core for each game
        for job, x in zip(jobs, pool.map(samples_of, jobs, repeat(10 if args.quick else 3000)), strict=True):
            results.append(x)
            print(*job, "caught {} modes, {:.0%} good".format(*caught_and_good(DENSITIES[job[0]], x)), flush=True)
    drawn, metrics = dict(zip(jobs, results, strict=True)), dict[str, float]()
    for name in names:
        modes = {}
        for loss in TURNS:
            counts = [caught_and_good(DENSITIES[name], drawn[name, seed, loss]) for seed in seeds]
            modes[loss], good = np.array(counts).T
            spread = f"{modes[loss].min():.0f}…{modes[loss].max():.0f}"
            print(f"{name}, {loss}: {modes[loss].mean():.1f} ({spread}) modes, {good.mean():.0%} good samples")
            metrics |= {f"{name}_{loss}_modes": float(modes[loss].mean()), f"{name}_{loss}_good": float(good.mean())}
        gains = modes["wasserstein"] - modes["minimax"]
        verdict = "reproduced" if gains.min() > 0 else "not reproduced" if gains.max() <= 0 else "undecided"
        print(
            f"claim on the {name}: {verdict}; more modes than minimax by {', '.join(f'{gain:.0f}' for gain in gains)}"
        )
    rows = {name: (DENSITIES[name], {loss: drawn[name, args.seed, loss] for loss in TURNS}) for name in names}
    plot.save(picture(rows), args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
