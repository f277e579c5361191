"""Claim: a Gated PixelCNN fits binary digits better than logistic regression on the earlier pixels.

    python examples/pixelcnn.py [--seed 0] [--out out/pixelcnn] [--quick]

Trains:   a Gated PixelCNN on binary 8×8 digits; the parameters with the best validation loss are kept.
Compares: its test loss with that of exactly fitted baselines. The test images are evaluated once, after training.
Prints:   the test loss in nats per image and the baselines.
Plots:    curve.png (training and validation loss) and samples.png.
Time:     less than a minute on two cores.
Source:   van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016.
"""

import time

import numpy as np
from common.baselines import binary_baselines
from common.reporting import mean_nll, parse_arguments, report
from numpy.typing import ArrayLike

from tinygen import plot
from tinygen.data import digits
from tinygen.models import GatedPixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit


def main() -> None:
    args = parse_arguments(__doc__ or "", "pixelcnn")
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    data, test = digits("train", threshold=8), digits("test", threshold=8)
    order = rng.permutation(len(data))
    train, validation = data.pixels[order[:-144]], data.pixels[order[-144:]]

    model = GatedPixelCNN(data.pixels.shape[1:], data.levels, rng, channels=32, layers=5, dropout=0.3)
    steps = 20 if args.quick else 1200
    parameters = model.parameters()
    history = fit(
        model.loss,
        model,
        train,
        optimizer=Adam(parameters, cosine(6e-3, steps, warmup=steps // 20)),
        batch_size=32,
        rng=rng,
        steps=steps,
        validate=lambda: mean_nll(model, validation),
        every=steps // 20,
        ema=EMA(parameters, 0.9 if args.quick else 0.995),
        unit="nats per image",
        history=args.out / "history.jsonl",
    )
    samples = model.sample(64, rng)
    metrics = {
        "test_nats_per_image": mean_nll(model, test.pixels),
        "parameter_count": sum(parameter.size for parameter in parameters),
        "seconds": time.perf_counter() - start,
    }

    baselines = binary_baselines(data.pixels, test.pixels)
    columns: dict[str, ArrayLike] = {
        "step": [record.step for record in history.records],
        "training (with dropout)": [record.loss for record in history.records],
        "validation": np.array([record.valid for record in history.records], float),
    }
    figure = plot.curves(columns, x="step", ylabel="loss (nats per image)", baselines=baselines, ylim=(12, 46))
    plot.save(figure, args.out / "curve.png")
    images = np.concatenate([train[:16], samples[:48]])
    plot.save(plot.sample_grid(images, columns=16, row_labels=["data", "samples", "", ""]), args.out / "samples.png")
    report(args.out, metrics, baselines, "nats per image")


if __name__ == "__main__":
    main()
