"""MADE on binary 8×8 digits: one order of the pixels against the mean over eight, each trained from three seeds.

python examples/made.py [--seed 0] [--out out/made] [--quick]

The last tenth of the (shuffled) training images is held out and decides which parameters are kept. The test images are
looked at once, at the end. `masks.png` is the idea of the paper: which unit may see which.
"""

import time

import numpy as np
from common.reporting import arguments, mean_nats, report
from common.yardsticks import yardsticks
from matplotlib.figure import Figure

from tinygen import plot
from tinygen.data import digits
from tinygen.models import MADE
from tinygen.nn.masks import masks
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit


def trained(orders: int, seed: int, images: np.ndarray, held_out: np.ndarray, steps: int) -> MADE:
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
        validate=lambda: mean_nats(model, held_out),
        every=steps // 20,
        ema=EMA(model.parameters(), 0.9 if steps < 100 else 0.995),
        unit=f"nats per image, {orders} order{'s' if orders > 1 else ''}, seed {seed}",
    )
    return model


def picture(models: dict[str, MADE]) -> Figure:
    """Each layer's mask, white where there is no connection, and the paths they leave: a pixel's row is who sees it."""
    figure = Figure(figsize=(9, 4.8), dpi=plot.DPI, layout="constrained")
    titles = ["pixels → hidden 1", "hidden 1 → hidden 2", "hidden 2 → pixels", "all paths"]
    for row, (name, model) in zip(figure.subplots(2, 4), models.items(), strict=True):
        layers = masks(model.net.degrees[0])
        paths = np.linalg.multi_dot([mask.astype(float) for mask in layers]) > 0
        for axes, mask, title in zip(row, [*layers, paths], titles, strict=True):
            axes.imshow(mask, cmap="Greys", vmin=0, vmax=1.25, aspect="auto", interpolation="nearest")
            axes.set(xticks=[0, mask.shape[1] - 1], yticks=[0, mask.shape[0] - 1], title=title)
        row[0].set_ylabel(name, fontsize=10)
    return figure


def main() -> None:
    args, start = arguments(__doc__ or "", "made"), time.perf_counter()
    steps, seeds = (20, 1) if args.quick else (2000, 3)
    train, test = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
    train = np.random.default_rng(args.seed).permutation(train)
    models = {k: [trained(k, args.seed + i, train[:-144], train[-144:], steps) for i in range(seeds)] for k in (1, 8)}
    one, eight = (np.array([mean_nats(model, test) for model in models[k]]) for k in (1, 8))
    rng = np.random.default_rng(args.seed)
    images = np.concatenate([train[:16], models[1][0].sample(32, rng), models[8][0].sample(32, rng)])
    labels = ["data", "one order", "", "mean of eight", ""]
    plot.save(plot.sample_grid(images, columns=16, row_labels=labels), args.out / "samples.png")
    plot.save(picture({"one order: raster": models[1][0], "one of eight": models[8][0]}), args.out / "masks.png")
    metrics = {"test_nats_one_order": one.mean(), "test_nats_eight_orders": eight.mean(), "seeds": seeds}
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, yardsticks(train, test), "nats per image")
    won = "better" if eight.max() < one.min() else "NOT better"
    print(
        f"\n  eight orders ({eight.min():.2f}…{eight.max():.2f}) are {won} than one ({one.min():.2f}…{one.max():.2f})"
    )


if __name__ == "__main__":
    main()
