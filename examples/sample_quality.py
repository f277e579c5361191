"""Whose digits are best? Samples of a VAE, a GAN, a RealNVP and a PixelCNN by Inception Score and FID, in one table.

python examples/sample_quality.py [--seed 0] [--out out/sample_quality] [--quick]

Both look through a classifier of our own (digit_classifier.py), so that they compare with no number elsewhere. FID is
to the 360 test images, which neither it nor a model has seen; each row has as many images as there are for training.
Training images are the floor; pixels drawn each by itself from them, the ceiling. Intervals: 95 %, by the bootstrap,
which for FID lie above the value: a sample drawn anew has repetitions.
"""

import time

import numpy as np
from digit_classifier import train_classifier
from digit_models import samples_of_models
from numpy.typing import NDArray
from reporting import arguments, report

from tinygen import plot
from tinygen.data import digits
from tinygen.metrics import bootstrap_interval, fid, inception_score


def main() -> None:
    args = arguments(__doc__ or "", "sample_quality")
    start, rng, share = time.perf_counter(), np.random.default_rng(args.seed), 0.01 if args.quick else 1.0
    train, test = digits("train"), digits("test")
    assert train.labels is not None
    classifier = train_classifier(train.pixels, train.labels, int(1000 * share), rng)
    p, reference = classifier.judge(test.pixels)
    metrics = {"classifier_test_accuracy": float((p.argmax(1) == test.labels).mean())}
    table, rows = [f"{'':<20}  {'Inception Score':>21}  {'FID':>24}"], []
    x = train.pixels[rng.permutation(len(train))]
    every: list[tuple[str, NDArray[np.integer]]] = [("training images", x), *samples_of_models(x, share, rng)]
    for name, images in [*every, ("independent pixels", rng.permuted(x, axis=0))]:
        p, features = classifier.judge(images)
        score, distance = inception_score(p), fid(features, reference)
        a, b = bootstrap_interval(inception_score, p, rng=rng)
        c, d = bootstrap_interval(fid, features, reference, rng=rng)
        table.append(f"{name:<20}  {f'{score:.2f} ({a:.2f}…{b:.2f})':>21}  {f'{distance:.2f} ({c:.2f}…{d:.2f})':>24}")
        metrics |= {f"{name.replace(' ', '_')}_is": score, f"{name.replace(' ', '_')}_fid": distance}
        rows.append((name, images[:14]))
    print("\n".join(table))
    names, pictures = zip(*rows, strict=True)
    plot.save(plot.sample_grid(np.concatenate(pictures), levels=17, row_labels=names), args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
