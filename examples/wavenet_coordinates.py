"""Claim: a WaveNet on images needs the pixel coordinates.

    python examples/wavenet_coordinates.py [--seed 0] [--out out/wavenet_coordinates] [--quick]

Trains:   a WaveNet with and without coordinates on binary 8×8 digits in raster order, with three seeds; the parameters
          with the best validation loss are kept. The receptive field is the whole image, so the models differ only in
          positional information: without coordinates, the only cue is the zero padding before the first pixel.
Compares: the test loss of the two. "Needs" means that, without coordinates, the mean test loss is at least 1 nat higher
          and the best seed is worse than the worst seed with coordinates; "is helped by" means only the latter.
Prints:   test losses in nats per image, the cost of leaving out coordinates, the baselines and the verdict.
Plots:    curves.png (validation loss) and samples.png.
Source:   van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, for the model.
"""

import time

import numpy as np
from common.baselines import binary_baselines
from common.reporting import mean_and_std, mean_nll, parse_arguments, plot_validation_curves, report

from tinygen import plot
from tinygen.data import Images, digits
from tinygen.models import WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import History, fit


def train(data: Images, seed: int, steps: int, coordinates: bool) -> tuple[WaveNet, History]:
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
        validate=lambda: mean_nll(model, images[-144:]),
        every=max(1, steps // 20),
        ema=EMA(model.parameters(), 0.5 if steps < 50 else 0.99),
        unit="nats per image",
    )
    return model, history


def main() -> None:
    args = parse_arguments(__doc__ or "", "wavenet_coordinates")
    start, steps = time.perf_counter(), 4 if args.quick else 600
    data, test = digits("train", threshold=8), digits("test", threshold=8)
    seeds = range(args.seed, args.seed + 3)
    nats, validation, images = [], {}, [data.pixels[:16]]
    for name, coordinates in {"with coordinates": True, "without coordinates": False}.items():
        models, histories = zip(*(train(data, seed, steps, coordinates) for seed in seeds), strict=True)
        nats.append(np.array([mean_nll(model, test.pixels) for model in models]))
        validation[name] = np.array([[record.valid for record in history.records] for history in histories])
        images.append(models[0].sample(16, np.random.default_rng(args.seed)))
    with_coordinates, without = nats
    cost, separated = without - with_coordinates, with_coordinates.max() < without.min()
    needed = separated and cost.mean() >= 1
    verdict = (
        "needs coordinates" if needed else "is helped by coordinates" if separated else "does not need coordinates"
    )

    baselines = binary_baselines(data.pixels, test.pixels)
    recorded_steps = [record.step for record in histories[0].records]
    plot.save(plot_validation_curves(recorded_steps, validation, baselines, (15, 28)), args.out / "curves.png")
    grid = plot.sample_grid(np.concatenate(images), columns=16, row_labels=["data", *validation])
    plot.save(grid, args.out / "samples.png")
    metrics = mean_and_std("test_nats_per_image_with_coordinates", with_coordinates)
    metrics |= mean_and_std("test_nats_per_image_without_coordinates", without) | mean_and_std(
        "cost_nats_per_image", cost
    )
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, baselines, "nats per image")
    costs = ", ".join(f"{each:+.2f}" for each in cost)
    print(f"\n  The WaveNet {verdict}: without them, {costs} nats per image (seeds {seeds[0]} to {seeds[-1]})")


if __name__ == "__main__":
    main()
