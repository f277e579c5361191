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
from common.reporting import arguments, curves_over_seeds, mean_nats, over_seeds, report
from common.yardsticks import yardsticks

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
    nats, held_out, pictures = [], {}, [train.pixels[:16]]
    for name, coordinates in {"with coordinates": True, "without": False}.items():
        models, histories = zip(*(trained(train, seed, steps, coordinates) for seed in seeds), strict=True)
        nats.append(np.array([mean_nats(model, test.pixels) for model in models]))
        held_out[name] = np.array([[record.valid for record in history.records] for history in histories])
        pictures.append(models[0].sample(16, np.random.default_rng(args.seed)))
    told, untold = nats
    cost, apart = untold - told, told.max() < untold.min()
    needed = apart and cost.mean() >= 1
    verdict = "needs the coordinates" if needed else "is helped by the coordinates" if apart else "does not need them"

    baselines = yardsticks(train.pixels, test.pixels)
    at = [record.step for record in histories[0].records]
    plot.save(curves_over_seeds(at, held_out, baselines, 15, 28), args.out / "curves.png")
    grid = plot.sample_grid(np.concatenate(pictures), columns=16, row_labels=["data", *held_out])
    plot.save(grid, args.out / "samples.png")
    metrics = over_seeds("test_nats_per_image_with_coordinates", told)
    metrics |= over_seeds("test_nats_per_image_without", untold) | over_seeds("cost_nats_per_image", cost)
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, baselines, "nats per image")
    each = ", ".join(f"{nats:+.2f}" for nats in cost)
    print(f"\n  A WaveNet {verdict}: without them {each} nats per image, of seeds {seeds[0]} to {seeds[-1]}")


if __name__ == "__main__":
    main()
