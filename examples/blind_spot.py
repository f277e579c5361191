"""Claim: the blind spot of the PixelCNN costs likelihood.

    python examples/blind_spot.py [--seeds 5] [--steps 500] [--out out/blind_spot] [--quick]

Trains:   two Gated PixelCNNs on binary 8×8 digits that differ in one tap of the vertical stack. In the blind one, it is
          on the left and does not extend the receptive field, which equals that of a PixelCNN of the same depth. In the
          other, it is on the right and removes the blind spot. The receptive fields are checked.
Compares: cost = test loss of the blind network − test loss of the other, which excludes the effect of gating.
Prints:   test losses in nats per image, the cost and the verdict.
Plots:    receptive_fields.png.
Time:     about 2 minutes on two cores (measured: 1.3 minutes of CPU time; 1.9 minutes beside other processes).
Source:   van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, section 2.2.
"""

from functools import partial

import numpy as np
from common.baselines import mean_nll
from common.claims import Effect
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.autograd import taps
from tinygen.data import digits
from tinygen.models import GatedPixelCNN
from tinygen.nn import Conv
from tinygen.optim import EMA, Adam, cosine
from tinygen.testing import check_autoregressive, receptive_field
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
DEPTH, ABOVE = 7, taps.rectangle(range(-1, 0), range(-1, 2))
SAME_ROW = {"blind": ((0, -1), (0, 0)), "not blind": ((0, 0), (0, 1))}  # taps in the row of the pixel
FIELDS = {  # [i, j]: the prediction of pixel i depends on pixel j
    "blind": receptive_field((8, 8), taps.causal(3), *[taps.causal(3, centre=True)] * (DEPTH - 1)),  # of a PixelCNN
    "not blind": np.tril(np.ones((64, 64), bool), -1),
}
SEEN, BLIND, LATER, CURRENT = (0.0, 0.45, 0.7), (0.84, 0.37, 0.0), (0.93, 0.93, 0.93), (0.2, 0.2, 0.2)  # RGB colours


def train(run: Training) -> Results:
    rng = run.rng()
    images = rng.permutation(TRAIN)
    model = GatedPixelCNN((8, 8, 1), 2, rng, channels=16, layers=DEPTH, first_size=3, dropout=0.1)
    for layer in model.layers[1:]:
        layer.vertical = Conv(16, 32, ABOVE + SAME_ROW[run.setting], rng)
    fit(
        model.loss,
        model,
        images[:-144],
        optimizer=Adam(model.parameters(), cosine(6e-3, run.steps, run.steps // 20)),
        batch_size=32,
        rng=rng,
        validate=partial(mean_nll, model, images[-144:]),
        ema=EMA(model.parameters(), 0.99),
        unit="nats per image",
        **run.options(),
    )
    check_autoregressive(model, TEST[:16], axes=2, receptive_field=FIELDS[run.setting], rng=run.rng(1), draws=1)
    return {"test": mean_nll(model, TEST), "parameters": sum(weights.size for weights in model.parameters())}


def show(report: Report) -> None:
    report.unit = "nats per image"
    report.decide(Effect("cost", report.difference("test", *SAME_ROW), "nats per image", above=0))
    shown = range(8, 64, 7)
    canvas = np.full((2, len(shown), 64, 3), LATER)
    for images, field in zip(canvas, FIELDS.values(), strict=True):
        for image, p in zip(images, shown, strict=True):
            image[:p], image[field[p]], image[p] = BLIND, SEEN, CURRENT
    rows = ["blind (as a PixelCNN)", "not blind"]
    caption = "Black: a pixel; blue: its receptive field; orange: its blind spot; grey: later pixels."
    report.save_grid(canvas.reshape(-1, 8, 8, 3), "receptive_fields.png", caption=caption, row_labels=rows)


if __name__ == "__main__":
    study(train, show, list(SAME_ROW), steps=500, quick=10)
