"""Train a Gated PixelCNN on binary 8×8 digits and draw new ones: within a minute on two cores.

python examples/pixelcnn.py [--seed 0] [--out out/pixelcnn] [--quick]

The last tenth of the (shuffled) training images is held out and decides which parameters are kept. The test images are
looked at once, at the end.
"""

import time

import numpy as np
from common.reporting import arguments, mean_nats, report
from common.yardsticks import yardsticks
from numpy.typing import ArrayLike

from tinygen import plot
from tinygen.data import digits
from tinygen.models import GatedPixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit


def main() -> None:
    args = arguments(__doc__ or "", "pixelcnn")
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    train, test = digits("train", threshold=8), digits("test", threshold=8)
    order = rng.permutation(len(train))
    fitted, held_out = train.pixels[order[:-144]], train.pixels[order[-144:]]

    model = GatedPixelCNN(train.pixels.shape[1:], train.levels, rng, channels=32, layers=5, dropout=0.3)
    steps = 20 if args.quick else 1200
    parameters = model.parameters()
    history = fit(
        model.loss,
        model,
        fitted,
        optimizer=Adam(parameters, cosine(6e-3, steps, warmup=steps // 20)),
        batch_size=32,
        rng=rng,
        steps=steps,
        validate=lambda: mean_nats(model, held_out),
        every=steps // 20,
        ema=EMA(parameters, 0.9 if args.quick else 0.995),
        unit="nats per image",
        history=args.out / "history.jsonl",
    )
    samples = model.sample(64, rng)
    metrics = {
        "test_nats_per_image": mean_nats(model, test.pixels),
        "parameter_count": sum(parameter.size for parameter in parameters),
        "seconds": time.perf_counter() - start,
    }

    baselines = yardsticks(train.pixels, test.pixels)
    columns: dict[str, ArrayLike] = {
        "step": [record.step for record in history.records],
        "training (under dropout)": [record.loss for record in history.records],
        "held out": np.array([record.valid for record in history.records], float),
    }
    figure = plot.curves(columns, x="step", ylabel="nats per image", yardsticks=baselines, ylim=(12, 46))
    plot.save(figure, args.out / "curve.png")
    images = np.concatenate([train.pixels[order[:16]], samples[:48]])
    plot.save(plot.sample_grid(images, columns=16, row_labels=["data", "samples", "", ""]), args.out / "samples.png")
    report(args.out, metrics, baselines, "nats per image")


if __name__ == "__main__":
    main()
