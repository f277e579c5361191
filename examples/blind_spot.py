"""Claim: the blind spot of the PixelCNN costs likelihood.

    python examples/blind_spot.py [--seed 0] [--out out/blind_spot] [--quick]

Trains:   a PixelCNN and two Gated PixelCNNs on binary 8×8 digits, each with three seeds. The gated ones differ in
          one tap of the vertical stack. In the blind one, it is on the left and does not extend the receptive field,
          which equals that of the PixelCNN. In the other, it is on the right and removes the blind spot.
Compares: the test losses of the two gated networks, which excludes the effect of gating. The receptive field of every
          model is checked.
Prints:   test losses in nats per image, the cost of the blind spot for each seed and the verdict.
Plots:    receptive_fields.png.
Source:   van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, section 2.2.
"""

import time
from functools import partial
from typing import Any

import numpy as np
from common.reporting import mean_and_std, mean_nll, parse_arguments, report

from tinygen import plot
from tinygen.autograd import taps
from tinygen.data import digits
from tinygen.models import GatedPixelCNN, PixelCNN
from tinygen.nn import Conv
from tinygen.optim import EMA, Adam, cosine
from tinygen.testing import check_autoregressive, receptive_field
from tinygen.training import fit

DEPTH, ABOVE, LEFT, RIGHT = 7, taps.rectangle(range(-1, 0), range(-1, 2)), ((0, -1), (0, 0)), ((0, 0), (0, 1))
TRAIN, TEST, SHOWN = digits("train", threshold=8).pixels, digits("test", threshold=8).pixels, range(8, 64, 7)
SEEN, BLIND, LATER, CURRENT = (0.0, 0.45, 0.7), (0.84, 0.37, 0.0), (0.93, 0.93, 0.93), (0.2, 0.2, 0.2)  # RGB colours


def gated(same_row: taps.Taps, rng: np.random.Generator) -> GatedPixelCNN:
    """Return a Gated PixelCNN whose vertical stack has taps `same_row` in addition to those in the row above."""
    model = GatedPixelCNN((8, 8, 1), 2, rng, channels=16, layers=DEPTH, first_size=3, dropout=0.1)
    for layer in model.layers[1:]:
        layer.vertical = Conv(16, 32, ABOVE + same_row, rng)
    return model


pixelcnn = partial(PixelCNN, (8, 8, 1), 2, channels=24, blocks=DEPTH - 1, first_size=3, dropout=0.1)
BLIND_FIELD = receptive_field((8, 8), taps.causal(3), *[taps.causal(3, centre=True)] * (DEPTH - 1))
MODELS: list[tuple[str, Any, np.ndarray]] = [  # name, constructor, receptive field
    ("PixelCNN", pixelcnn, BLIND_FIELD),
    ("gated, blind", partial(gated, LEFT), BLIND_FIELD),
    ("gated, not blind", partial(gated, RIGHT), np.tril(np.ones((64, 64), bool), -1)),
]


def main() -> None:
    args, start, metrics = parse_arguments(__doc__ or "", "blind_spot"), time.perf_counter(), dict[str, float]()
    steps, seeds = (10, 2) if args.quick else (500, 3)
    test, canvas = np.zeros((3, seeds)), np.full((3, len(SHOWN), 64, 3), LATER)
    for i, (name, make, field) in enumerate(MODELS):
        for k in range(seeds):
            rng = np.random.default_rng(args.seed + k)
            order, model = rng.permutation(len(TRAIN)), make(rng)
            weights = model.parameters()
            fit(
                model.loss,
                model,
                TRAIN[order[:-144]],
                optimizer=Adam(weights, cosine(6e-3, steps, steps // 20)),
                batch_size=32,
                rng=rng,
                steps=steps,
                validate=partial(mean_nll, model, TRAIN[order[-144:]]),
                every=steps // 10,
                ema=EMA(weights, 0.99),
                unit="nats per image",
            )
            test[i, k] = mean_nll(model, TEST)
        key = name.lower().replace(",", "").replace(" ", "_")
        metrics |= mean_and_std(f"{key}_test_nats_per_image", test[i])
        metrics[f"{key}_parameters"] = sum(w.size for w in weights)
        check_autoregressive(model, TEST[:16], axes=2, receptive_field=field, rng=rng, draws=1)
        for image, p in zip(canvas[i], SHOWN, strict=True):
            image[:p], image[field[p]], image[p] = BLIND, SEEN, CURRENT
    title = "black: current pixel; blue: its receptive field; orange: its blind spot"
    grid = plot.sample_grid(canvas.reshape(-1, 8, 8, 3), row_labels=[name for name, *_ in MODELS], title=title)
    plot.save(grid, args.out / "receptive_fields.png")
    cost = test[1] - test[2]  # (seeds,)
    metrics |= mean_and_std("cost_nats_per_image", cost)
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "nats per image")
    verdict = "costs likelihood for every seed" if cost.min() > 0 else "does not cost likelihood for every seed"
    print(f"\n  The blind spot {verdict}: {', '.join(f'{each:+.2f}' for each in cost)} nats per image")


if __name__ == "__main__":
    main()
