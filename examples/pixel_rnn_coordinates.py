"""Do coordinates improve a pixel RNN drastically? The same LSTM with and without them, on binary 8×8 digits.

python examples/pixel_rnn_coordinates.py [--seed 0] [--out out/pixel_rnn_coordinates] [--quick]

Both get the same steps, batches and learning rate, from each of several seeds. A tenth of the training images is held
out and decides which parameters are kept. What the words mean was settled beforehand:

    gain = test nats per image without coordinates − with them, its mean and standard deviation over the seeds
    better: the mean is above two standard deviations
    drastically: moreover, it is a quarter or more of what the RNN without gains on independent pixels (gain_share)
"""

import time
from functools import partial

import numpy as np
from common.reporting import arguments, curves_over_seeds, mean_nats, over_seeds, report
from common.yardsticks import yardsticks

from tinygen import plot
from tinygen.data import digits
from tinygen.models import PixelRNN
from tinygen.optim import Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
NAMES = ("with coordinates", "without")


def main() -> None:
    args, start = arguments(__doc__ or "", "pixel_rnn_coordinates"), time.perf_counter()
    steps, seeds = (10, 2) if args.quick else (1000, 3)
    test, held_out, samples = np.zeros((2, seeds)), np.zeros((2, seeds, 10)), []  # with coordinates, without
    for i, coordinates in enumerate((True, False)):
        for k in range(seeds):
            rng = np.random.default_rng(args.seed + k)  # both see the same images in the same batches
            order = rng.permutation(len(TRAIN))
            model = PixelRNN((8, 8, 1), 2, np.random.default_rng(args.seed + k), hidden=64, coordinates=coordinates)
            adam = Adam(model.parameters(), cosine(1e-2, steps, warmup=steps // 20))
            history = fit(
                model.loss,
                model,
                TRAIN[order[:-144]],
                optimizer=adam,
                batch_size=32,
                rng=rng,
                steps=steps,
                clip=5.0,
                validate=partial(mean_nats, model, TRAIN[order[-144:]]),
                every=steps // 10,
                unit="nats per image",
            )
            held_out[i, k] = [record.valid for record in history.records]
            test[i, k] = mean_nats(model, TEST)
        samples.append(model.sample(16, rng))

    baselines = yardsticks(TRAIN, TEST)
    told, untold = test
    gain, spread = (untold - told).mean(), (untold - told).std(ddof=1)
    share = gain / (baselines["independent Bernoulli"] - untold.mean())
    metrics = over_seeds("test_nats_per_image_with_coordinates", told)
    metrics |= over_seeds("test_nats_per_image_without", untold) | over_seeds("gain_nats_per_image", untold - told)
    metrics |= {"gain_share": share, "held_out_gain_nats_at_a_tenth": np.diff(held_out[..., 0].mean(1))[0]}
    metrics["seconds"] = time.perf_counter() - start
    at, runs = np.linspace(steps / 10, steps, 10), dict(zip(NAMES, held_out, strict=True))
    plot.save(curves_over_seeds(at, runs, baselines, 15, 28), args.out / "curves.png")
    images = plot.sample_grid(np.concatenate([TRAIN[:16], *samples]), row_labels=["data", *NAMES])
    plot.save(images, args.out / "samples.png")
    report(args.out, metrics, baselines, "nats per image")
    verdict = "no better" if gain <= 2 * spread else "better" if share < 0.25 else "drastically better"
    print(f"\n  With coordinates: {verdict}, {gain:.2f} ± {spread:.2f} nats per image ({seeds} seeds).")


if __name__ == "__main__":
    main()
