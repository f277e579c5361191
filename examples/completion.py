"""Claim: given one half, a model completes images and sounds more like the originals than samples that ignore it.

    python examples/completion.py [--only SETTING …] [--seeds 5] [--steps 1200] [--out out/completion] [--quick]

Trains:   a Gated PixelCNN on binary 8×8 digits, and, with two thirds of the steps, a class-conditional WaveNet on
          plucked strings, chirps and vowels: half a second at 2 kHz. `model.complete` draws the unknown half from
          p(unknown | known), for sounds at temperature ½, which reduces their noise.
Compares: how similar the unknown half of test examples is to that of their completions and to that of samples (for
          sounds, of the same class and temperature): the share of equal pixels in the lower half, and the mean cosine
          of the short-time spectra in the second half. That completion is conditioning is tested by enumeration, in
          tests/models/autoregressive/test_completion.py.
Prints:   both similarities, their difference and the verdict.
Plots:    digits.png and sounds.png: originals and their completions.
Time:     about 8 minutes on two cores (measured: 7.2 minutes of CPU time; 16.2 minutes beside other processes).
Source:   van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, figure 9: images completed
          from their upper half.
"""

import numpy as np
from common.claims import Effect
from common.report import Report
from common.spectral_similarity import spectral_similarity
from common.spectrograms import plot_completions
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen.data import digits
from tinygen.data.audio import KINDS, mu_law_decode, mu_law_encode, sounds
from tinygen.models import GatedPixelCNN, WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

TRAIN, TEST = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels
COLUMNS, COMPLETIONS, RATE = 12, 5, 2000  # in the pictures; sampling rate in Hz
UPPER = np.zeros((8, 8, 1), bool)
UPPER[:4] = True


def train_digits(run: Training) -> Results:
    rng = run.rng()
    model = GatedPixelCNN((8, 8, 1), 2, rng, channels=32, layers=5, dropout=0.3)
    optimizer, ema = Adam(model.parameters(), cosine(6e-3, run.steps, run.steps // 20)), EMA(model.parameters(), 0.995)
    fit(model.loss, model, TRAIN, optimizer=optimizer, batch_size=32, rng=rng, ema=ema, **run.options(20))
    drawn = [model.complete(TEST, UPPER, run.rng(1 + i)) for i in range(COMPLETIONS)]
    compared = {"completion": drawn[0], "sample": model.sample(len(TEST), run.rng(9))}
    pictures = np.stack([TEST, *drawn]).astype(np.uint8)[:, :COLUMNS]  # (1 + completions, columns, 8, 8, 1)
    return {name: np.mean((x == TEST)[:, ~UPPER]) for name, x in compared.items()} | {"pictures": pictures}


def train_sounds(run: Training) -> Results:
    rng, run = run.rng(), run.part("sounds", 2 / 3)
    (codes, kinds), (test, test_kinds) = ((mu_law_encode(x), k) for x, k in (sounds(n, rng, RATE) for n in (1600, 60)))
    model = WaveNet(codes.shape[1:], 256, rng, dilations=[1, 2, 4, 8, 16, 32, 64, 128], classes=len(KINDS))
    optimizer, ema = Adam(model.parameters(), cosine(4e-3, run.steps, run.steps // 20)), EMA(model.parameters(), 0.98)
    settings = {"batch_size": 8, "rng": rng, "ema": ema, "clip": 1.0, "shards": 2, **run.options(5)}
    fit(lambda x, k, rng: model.loss(x, k) / x.shape[1], model, (codes, kinds), optimizer=optimizer, **settings)
    known = np.arange(codes.shape[1]) < codes.shape[1] // 2
    drawn = [model.complete(test, known, run.rng(1 + i), test_kinds, temperature=0.5) for i in range(2)]
    samples = model.sample(len(test), run.rng(9), test_kinds, temperature=0.5)
    waves = [mu_law_decode(x) for x in (test, *drawn, samples)]
    original, completed, _, sampled = (x[:, ~known] for x in waves)
    one_of_each = [int(np.flatnonzero(test_kinds == i)[0]) for i in range(len(KINDS))]
    return {
        "completion": spectral_similarity(original, completed),
        "sample": spectral_similarity(original, sampled),
        "pictures": np.stack([x[one_of_each] for x in waves[:3]]),  # (original and two completions, kinds, time)
    }


TRAIN_ON = {"digits": train_digits, "sounds": train_sounds}


def train(run: Training) -> Results:
    return TRAIN_ON[run.setting](run)


def show(report: Report) -> None:
    report.unit = "share of equal pixels, or cosine of spectra"
    gains = {name: report.values("completion", name) - report.values("sample", name) for name in TRAIN_ON}
    report.decide(*(Effect(f"gain in similarity of {name}", gain, "", above=0) for name, gain in gains.items()))
    pictures = report.first("pictures")
    if "digits" in pictures:
        levels = 2 * pictures["digits"]
        given = np.where(UPPER, levels[:1], 1)  # the unknown half is grey
        rows = ["original", "given", *[f"completion {i + 1}" for i in range(COMPLETIONS)]]
        images = np.concatenate([levels[:1], given, levels[1:]]).reshape(-1, 8, 8, 1)
        report.save_grid(images, "digits.png", levels=3, columns=COLUMNS, row_labels=rows)
    if "sounds" in pictures:
        report.save(plot_completions(pictures["sounds"], KINDS, RATE), "sounds.png")


if __name__ == "__main__":
    study(train, show, list(TRAIN_ON), steps=1200, quick=10)
