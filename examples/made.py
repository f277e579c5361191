"""Claim: a MADE averaged over eight variable orders fits binary digits better than a MADE with one order.

    python examples/made.py [--seed 0] [--out out/made] [--quick]

Trains:   both models on binary 8×8 digits with three seeds; the parameters with the best validation loss are kept.
Compares: the test loss of the two; the claim holds if the worst seed with eight orders beats the best with one.
Prints:   test losses in nats per image, the baselines and the verdict.
Plots:    samples.png; masks.png, the masks of each layer and the pixels that each output pixel depends on.
Source:   Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015.
"""

import time

import numpy as np
from common.baselines import binary_baselines
from common.reporting import mean_nll, parse_arguments, report
from matplotlib.figure import Figure

from tinygen import plot
from tinygen.data import digits
from tinygen.models import MADE
from tinygen.nn.made_masks import made_masks
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit


def train(orders: int, seed: int, images: np.ndarray, validation: np.ndarray, steps: int) -> MADE:
    rng = np.random.default_rng(seed)
    model = MADE(images.shape[1:], 2, rng, hidden=(300, 300), orders=orders, direct=True)
    fit(
        model.loss,
        model,
        images,
        optimizer=Adam(model.parameters(), cosine(8e-3, steps, warmup=steps // 20)),
        batch_size=32,
        rng=rng,
        steps=steps,
        validate=lambda: mean_nll(model, validation),
        every=steps // 20,
        ema=EMA(model.parameters(), 0.9 if steps < 100 else 0.995),
        unit=f"nats per image, {orders} order{'s' if orders > 1 else ''}, seed {seed}",
    )
    return model


def plot_masks(models: dict[str, MADE]) -> Figure:
    """Plot each layer's mask and the non-zeros of their product, without the direct connections."""
    figure = Figure(figsize=(9, 4.8), dpi=plot.DPI, facecolor="white", layout="constrained")
    titles = ["pixels → hidden 1", "hidden 1 → hidden 2", "hidden 2 → pixels", "pixels → pixels"]
    for row, (name, model) in zip(figure.subplots(2, 4), models.items(), strict=True):
        layers = made_masks(model.net.degrees[0])
        paths = np.linalg.multi_dot([mask.astype(float) for mask in layers]) > 0
        for axes, mask, title in zip(row, [*layers, paths], titles, strict=True):
            axes.imshow(mask, cmap="Greys", vmin=0, vmax=1.25, aspect="auto", interpolation="nearest")
            axes.set(xticks=[0, mask.shape[1] - 1], yticks=[0, mask.shape[0] - 1])
            axes.set_title(title, fontsize=10, loc="left", color=plot.INK)
        row[0].set_ylabel(f"{name}\ninput unit", fontsize=9)
    for axes in figure.axes[4:]:
        axes.set_xlabel("output unit", fontsize=9)
    return figure


def main() -> None:
    args, start = parse_arguments(__doc__ or "", "made"), time.perf_counter()
    steps, seeds = (20, 1) if args.quick else (2000, 3)
    images, test = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
    images = np.random.default_rng(args.seed).permutation(images)
    models = {k: [train(k, args.seed + i, images[:-144], images[-144:], steps) for i in range(seeds)] for k in (1, 8)}
    one, eight = (np.array([mean_nll(model, test) for model in models[k]]) for k in (1, 8))
    rng = np.random.default_rng(args.seed)
    rows = np.concatenate([images[:16], models[1][0].sample(32, rng), models[8][0].sample(32, rng)])
    labels = ["data", "one order", "", "eight orders", ""]
    plot.save(plot.sample_grid(rows, columns=16, row_labels=labels), args.out / "samples.png")
    plot.save(plot_masks({"raster order": models[1][0], "first of eight orders": models[8][0]}), args.out / "masks.png")
    metrics = {"test_nats_one_order": one.mean(), "test_nats_eight_orders": eight.mean(), "seeds": seeds}
    metrics["seconds"] = time.perf_counter() - start
    report(args.out, metrics, binary_baselines(images, test), "nats per image")
    better = "better" if eight.max() < one.min() else "NOT better"
    print(f"\n  Eight orders ({eight.min():.2f}…{eight.max():.2f} nats per image over seeds) are {better}")
    print(f"  than one order ({one.min():.2f}…{one.max():.2f})")


if __name__ == "__main__":
    main()
