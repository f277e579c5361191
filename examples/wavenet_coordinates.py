"""Claim: a WaveNet on images needs the pixel coordinates.

    python examples/wavenet_coordinates.py [--seeds 5] [--steps 600] [--out out/wavenet_coordinates] [--quick]

Trains:   a WaveNet with and without coordinates on binary 8×8 digits in raster order; the parameters with the best
          validation loss are kept. The receptive field is the whole image, so the models differ only in positional
          information: without coordinates, the only cue is the zero padding before the first pixel.
Compares: cost = test loss without coordinates − test loss with them. "Needs" means a cost above 1 nat per image.
Prints:   test losses in nats per image, the baselines, the cost and the verdict.
Plots:    curves.png (validation loss) and samples.png.
Time:     about 2 minutes on two cores (measured: 1.2 minutes of CPU time; 2.1 minutes beside other processes).
Source:   van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, for the model.
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
from tinygen.models import WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
WITH, WITHOUT = "with coordinates", "without coordinates"


def train(run: Training) -> Results:
    rng = run.rng()
    images = rng.permutation(TRAIN)
    model = WaveNet((8, 8, 1), 2, rng, dilations=(1, 2, 4, 8, 16, 32), coordinates=run.setting == WITH)
    history = fit(
        model.loss,
        model,
        images[:-144],
        optimizer=Adam(model.parameters(), cosine(4e-3, run.steps, warmup=run.steps // 20)),
        batch_size=32,
        rng=rng,
        validate=partial(mean_nll, model, images[-144:]),
        ema=EMA(model.parameters(), 0.99),
        unit="nats per image",
        **run.options(),
    )
    return {"test": mean_nll(model, TEST), "curve": validation_curve(history), "samples": model.sample(16, run.rng(1))}


def show(report: Report) -> None:
    report.unit, report.baselines = "nats per image", report.baselines or binary_baselines(TRAIN, TEST)
    report.decide(Effect("cost", report.difference("test", WITHOUT, WITH), "nats per image", above=1))
    report.save(plot_validation_curves(report, "curve"), "curves.png")
    samples = report.first("samples")
    report.save_grid(np.concatenate([TRAIN[:16], *samples.values()]), "samples.png", row_labels=["data", *samples])


if __name__ == "__main__":
    study(train, show, [WITH, WITHOUT], steps=600, quick=4)
