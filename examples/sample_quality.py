"""Whose digits are best? Samples of a VAE, a GAN, a RealNVP and a PixelCNN by Inception Score and FID, in one table.

python examples/sample_quality.py [--seed 0] [--out out/sample_quality] [--quick]

Both look through a classifier of our own (digit_classifier.py), so that they compare with no number elsewhere. FID is
to the 360 test images, which neither it nor a model has seen; each row has as many images as there are for training.
Training images are the floor; pixels drawn each by itself from them, the ceiling. Values and 95 % intervals are by the
bootstrap, which takes away the bias that so few images give both numbers.
"""

import time

import numpy as np
from common.digit_classifier import train_classifier
from common.digit_models import MODELS
from common.reporting import arguments, report
from numpy.typing import NDArray

from tinygen import plot
from tinygen.data import digits
from tinygen.metrics import bootstrap, fid, inception_score


def main() -> None:
    args = arguments(__doc__ or "", "sample_quality")
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    share = 0.01 if args.quick else 1.0  # of the steps
    train, test = digits("train"), digits("test")
    assert train.labels is not None

    print("classifier")
    classifier = train_classifier(train.pixels, train.labels, int(2000 * share), rng)
    probabilities, reference = classifier.judge(test.pixels)
    accuracy = float((probabilities.argmax(1) == test.labels).mean())
    short = "" if accuracy >= 0.97 else ", fewer than the 97 % that a judge should"
    print(f"of the test images it gets {accuracy:.1%} right{short}")

    x = train.pixels[rng.permutation(len(train))]
    images: dict[str, NDArray[np.integer]] = {"training images": x}
    for name, samples_after_training in MODELS.items():
        print(name)
        images[name] = samples_after_training(x, share, rng)
    images["independent pixels"] = rng.permuted(x, axis=0)

    metrics = {"classifier_test_accuracy_share": accuracy}
    print(f"\n{'':<20}  {'Inception Score':>21}  {'FID':>24}")
    for name, drawn in images.items():
        probabilities, features = classifier.judge(drawn)
        score = bootstrap(inception_score, probabilities, rng=rng)
        distance = bootstrap(fid, features, reference, rng=rng)
        texts = [f"{value:.2f} ({low:.2f}…{high:.2f})" for value, low, high in (score, distance)]
        print(f"{name:<20}  {texts[0]:>21}  {texts[1]:>24}")
        key = name.lower().replace(" ", "_")
        metrics[f"{key}_inception_score"] = score.value
        metrics[f"{key}_fid"] = distance.value

    rows = np.concatenate([drawn[:14] for drawn in images.values()])
    plot.save(plot.sample_grid(rows, levels=17, row_labels=list(images)), args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
