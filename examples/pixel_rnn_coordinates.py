"""Claim: pixel coordinates as additional inputs improve a pixel RNN drastically.

    python examples/pixel_rnn_coordinates.py [--seed 0] [--out out/pixel_rnn_coordinates] [--quick]

Trains:   an LSTM with and without coordinates on binary 8×8 digits, with the same steps, batches and learning rate,
          each with three seeds; the parameters with the best validation loss are kept.
Compares: gain = test loss without coordinates − test loss with coordinates. Criteria, fixed in advance: "better" means
          a mean gain above two standard deviations; "drastically better" means that the gain is also at least a
          quarter of the gain of the RNN without coordinates over independent pixels (gain_fraction).
Prints:   test losses in nats per image, the gain, the baselines and the verdict.
Plots:    curves.png (validation loss) and samples.png.
Source:   van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, for the setting.
"""

import time
from functools import partial

import numpy as np
from common.baselines import binary_baselines
from common.reporting import mean_and_std, mean_nll, parse_arguments, plot_validation_curves, report

from tinygen import plot
from tinygen.data import digits
from tinygen.models import PixelRNN
from tinygen.optim import Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
NAMES = ("with coordinates", "without coordinates")


def main() -> None:
    args, start = parse_arguments(__doc__ or "", "pixel_rnn_coordinates"), time.perf_counter()
    steps, seeds = (10, 2) if args.quick else (1000, 3)
    test, validation, samples = np.zeros((2, seeds)), np.zeros((2, seeds, 10)), []  # axis 0 as in NAMES
    for i, coordinates in enumerate((True, False)):
        for k in range(seeds):
            rng = np.random.default_rng(args.seed + k)  # the same batches with and without coordinates
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
                validate=partial(mean_nll, model, TRAIN[order[-144:]]),
                every=steps // 10,
                unit="nats per image",
            )
            validation[i, k] = [record.valid for record in history.records]
            test[i, k] = mean_nll(model, TEST)
        samples.append(model.sample(16, rng))

    baselines = binary_baselines(TRAIN, TEST)
    with_coordinates, without = test
    gain, std = (without - with_coordinates).mean(), (without - with_coordinates).std(ddof=1)
    fraction = gain / (baselines["independent Bernoulli"] - without.mean())
    metrics = mean_and_std("test_nats_per_image_with_coordinates", with_coordinates)
    metrics |= mean_and_std("test_nats_per_image_without_coordinates", without)
    metrics |= mean_and_std("gain_nats_per_image", without - with_coordinates)
    metrics |= {"gain_fraction": fraction, "validation_gain_nats_at_10_percent": np.diff(validation[..., 0].mean(1))[0]}
    metrics["seconds"] = time.perf_counter() - start
    recorded_steps, runs = np.linspace(steps / 10, steps, 10), dict(zip(NAMES, validation, strict=True))
    plot.save(plot_validation_curves(recorded_steps, runs, baselines, (15, 28)), args.out / "curves.png")
    images = plot.sample_grid(np.concatenate([TRAIN[:16], *samples]), row_labels=["data", *NAMES])
    plot.save(images, args.out / "samples.png")
    report(args.out, metrics, baselines, "nats per image")
    verdict = "no better" if gain <= 2 * std else "better" if fraction < 0.25 else "drastically better"
    print(f"\n  With coordinates: {verdict}, gain {gain:.2f} ± {std:.2f} nats per image ({seeds} seeds)")


if __name__ == "__main__":
    main()
