"""Claim: in a RealNVP of images, checkerboard masks fit better than masks that split the image into two halves.

    python examples/realnvp_masks.py [--seeds 5] [--steps 400] [--out out/realnvp_masks] [--quick]

Trains:   RealNVPs of eight couplings with either mask on dequantised 8×8 digits; the parameters with the best
          validation loss are kept. The checkerboard model has 2 % more parameters, because its networks have twice the
          input channels at half the resolution.
Compares: gain = test loss with halves − test loss with a checkerboard. On a checkerboard, all direct neighbours of a
          pixel are in the other part; with an upper and a lower half, almost none are.
Prints:   test losses in bits per dimension, the gain and the verdict.
Plots:    samples.png.
Time:     about 2 minutes on two cores (measured: 1.9 minutes of CPU time; 3.8 minutes beside other processes).
Source:   Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.4.
"""

import numpy as np
from common.claims import Effect
from common.digit_flows import mean_bits_per_dim, split_digits, train_flow
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.models import RealNVP

HALF, CHECKERBOARD = "half", "checkerboard"


def train(run: Training) -> Results:
    images, validation, test = split_digits(run.rng(2))
    flow = RealNVP((8, 8, 1), run.rng(), mask=run.setting, layers=8, hidden=32, depth=1)
    model = train_flow(run, flow, images, validation, 3e-3)
    return {"test": mean_bits_per_dim(model, test, run.rng(3)), "samples": model.sample(12, run.rng(4))}


def show(report: Report) -> None:
    report.unit = "bits per dimension"
    report.decide(Effect("gain", report.difference("test", HALF, CHECKERBOARD), "bits/dim", above=0))
    samples = report.first("samples")
    data = split_digits(np.random.default_rng(0))[2][:12]
    rows = ["data", *samples]
    report.save_grid(np.concatenate([data, *samples.values()]), "samples.png", levels=17, row_labels=rows)


if __name__ == "__main__":
    study(train, show, [HALF, CHECKERBOARD], steps=400, quick=4)
