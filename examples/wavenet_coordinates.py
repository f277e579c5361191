"""Does a WaveNet on images need the pixel coordinates? With and without them on binary 8×8 digits, three seeds each.

python examples/wavenet_coordinates.py [--seed 0] [--out out/wavenet_coordinates] [--quick]

To a WaveNet an image is its pixels in raster order: where a row ends it has to guess, and, once its receptive field is
full, also how far the image has come. Here the field is the whole image, so that nothing but the place is missing (only
the zeros before the first pixel could tell it). "Needs" means: without coordinates the test images cost at least 1 nat
more on average, and the worst seed with them is better than the best without. "Helps" means only the latter.

The last tenth of the (shuffled) training images is held out and decides which parameters are kept.
"""

import time

import numpy as np
from reporting import arguments, mean_nats, report
from yardsticks import yardsticks

from tinygen import plot
from tinygen.data import Images, digits
from tinygen.models import WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import History, fit


def trained(data: Images, seed: int, steps: int, coordinates: bool) -> tuple[WaveNet, History]:
    rng = np.random.default_rng(seed)
    images = rng.permutation(data.pixels)
    model = WaveNet(images.shape[1:], data.levels, rng, dilations=(1, 2, 4, 8, 16, 32), coordinates=coordinates)
    history = fit(
        model.loss,
        model,
        images[:-144],
        optimizer=Adam(model.parameters(), cosine(4e-3, steps, warmup=steps // 20)),
        batch_size=32,
        rng=rng,
        steps=steps,
        validate=lambda: mean_nats(model, images[-144:]),
        every=max(1, steps // 20),
        ema=EMA(model.parameters(), 0.5 if steps < 50 else 0.99),
        unit="nats per image",
    )
    return model, history


def main() -> None:
    args = arguments(__doc__ or "", "wavenet_coordinates")
    start, steps = time.perf_counter(), 4 if args.quick else 600
    train, test = digits("train", threshold=8), digits("test", threshold=8)
    seeds = range(args.seed, args.seed + 3)
    nats, columns, pictures = {}, {}, [train.pixels[:16]]
    for name, coordinates in {"with": True, "without": False}.items():
        runs = [trained(train, seed, steps, coordinates) for seed in seeds]
        nats[name] = [mean_nats(model, test.pixels) for model, _ in runs]
        columns["step"] = np.array([record.step for record in runs[0][1].records])
        valid = [[record.valid for record in history.records] for _, history in runs]
        columns[f"{name}, mean of seeds"] = np.mean(np.array(valid, float), 0)
        pictures.append(runs[0][0].sample(16, np.random.default_rng(args.seed)))
    gap = np.mean(nats["without"]) - np.mean(nats["with"])
    apart = max(nats["with"]) < min(nats["without"])
    verdict = "needs the coordinates" if apart and gap >= 1 else "is helped by them" if apart else "does not need them"

    baselines = yardsticks(train.pixels, test.pixels)
    figure = plot.curves(columns, x="step", ylabel="held out, nats per image", yardsticks=baselines, ylim=(14, 40))
    plot.save(figure, args.out / "curves.png")
    grid = plot.sample_grid(np.concatenate(pictures), columns=16, row_labels=["data", "with", "without"])
    plot.save(grid, args.out / "samples.png")
    metrics = {f"test_nats_per_image_{name}_coordinates": float(np.mean(nats[name])) for name in nats}
    metrics |= {f"test_nats_per_image_{name}_spread": float(np.ptp(nats[name])) for name in nats}
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, baselines, "nats per image")
    print(f"\n  A WaveNet {verdict}: without, {gap:+.2f} nats per image (mean of seeds {seeds[0]}…{seeds[-1]})")


if __name__ == "__main__":
    main()
