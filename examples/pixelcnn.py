"""Claim: a Gated PixelCNN fits binary digits better than logistic regression on the earlier pixels.

    python examples/pixelcnn.py [--seeds 5] [--steps 1200] [--out out/pixelcnn] [--quick]

Trains:   a Gated PixelCNN on binary 8×8 digits; the parameters with the best validation loss are kept. The first
          pictures are there after the first of five seeds.
Compares: gain = test loss of logistic regression − test loss of the model, in nats per image. The test images are
          evaluated once, after training.
Prints:   the test loss, that of models that are fitted exactly, the gain and the verdict.
Plots:    curve.png (validation loss) and samples.png.
Time:     about 3 minutes on two cores (measured: 2.3 minutes of CPU time; 4.8 minutes beside other processes).
Source:   van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016.
"""

from functools import partial

import numpy as np
from common.baselines import binary_baselines, mean_nll
from common.claims import Effect
from common.figures import plot_validation_curves, validation_curve
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.data import digits
from tinygen.models import GatedPixelCNN
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
NAME = "Gated PixelCNN"


def train(run: Training) -> Results:
    rng = run.rng()
    images = rng.permutation(TRAIN)
    model = GatedPixelCNN((8, 8, 1), 2, rng, channels=32, layers=5, dropout=0.3)
    history = fit(
        model.loss,
        model,
        images[:-144],
        optimizer=Adam(model.parameters(), cosine(6e-3, run.steps, warmup=run.steps // 20)),
        batch_size=32,
        rng=rng,
        validate=partial(mean_nll, model, images[-144:]),
        ema=EMA(model.parameters(), 0.995),
        unit="nats per image",
        **run.options(20),
    )
    return {"test": mean_nll(model, TEST), "curve": validation_curve(history), "samples": model.sample(48, run.rng(1))}


def show(report: Report) -> None:
    report.unit, report.baselines = "nats per image", report.baselines or binary_baselines(TRAIN, TEST)
    gains = report.baselines["logistic regression on earlier pixels"] - report.values("test", NAME)
    report.decide(Effect("gain", gains, "nats per image", above=0))
    report.save(plot_validation_curves(report, "curve"), "curve.png")
    images = np.concatenate([TRAIN[:16], report.first("samples")[NAME]])
    report.save_grid(images, "samples.png", columns=16, row_labels=["data", "samples", "", ""])


if __name__ == "__main__":
    study(train, show, [NAME], steps=1200, quick=20)
