"""Claim: Inception Score and FID rank samples of four models between training images and independent pixels.

    python examples/sample_quality.py [--seed 0] [--out out/sample_quality] [--quick]

Trains:   a digit classifier, then a VAE, a GAN, a RealNVP and a PixelCNN on grey 8×8 digits.
Compares: Inception Score and FID of as many samples of each model as there are training images. Both are computed with
          the classifier of this example, so they cannot be compared with published values. FID is relative to the 360
          test images, which neither classifier nor models were trained on.
Prints:   a table with 95 % bootstrap intervals; the bootstrap also corrects the bias due to the small sample size.
Plots:    samples.png.
Source:   Salimans et al., "Improved techniques for training GANs", 2016; Heusel et al., "GANs trained by a two
          time-scale update rule converge to a local Nash equilibrium", 2017.
"""

import time

import numpy as np
from common.digit_classifier import train_classifier
from common.digit_models import MODELS
from common.reporting import parse_arguments, report
from numpy.typing import NDArray

from tinygen import plot
from tinygen.data import digits
from tinygen.metrics import bootstrap, fid, inception_score

MIN_ACCURACY = 0.97  # of the classifier; below this, its scores are not trusted


def main() -> None:
    args = parse_arguments(__doc__ or "", "sample_quality")
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    fraction = 0.01 if args.quick else 1.0  # of the training steps
    train, test = digits("train"), digits("test")
    assert train.labels is not None

    print("classifier")
    classifier = train_classifier(train.pixels, train.labels, int(2000 * fraction), rng)
    probabilities, reference = classifier.predict(test.pixels)
    accuracy = float((probabilities.argmax(1) == test.labels).mean())
    warning = "" if accuracy >= MIN_ACCURACY else f", below {MIN_ACCURACY:.0%}: do not trust the scores"
    print(f"classifier test accuracy {accuracy:.1%}{warning}")

    x = train.pixels[rng.permutation(len(train))]
    images: dict[str, NDArray[np.integer]] = {"training images": x}
    for name, train_and_sample in MODELS.items():
        print(name)
        images[name] = train_and_sample(x, fraction, rng)
    images["independent pixels"] = rng.permuted(x, axis=0)

    metrics = {"classifier_test_accuracy": accuracy}
    print(f"\n{'':<20}  {'Inception Score':>21}  {'FID':>24}")
    for name, samples in images.items():
        probabilities, features = classifier.predict(samples)
        score = bootstrap(inception_score, probabilities, rng=rng)
        distance = bootstrap(fid, features, reference, rng=rng)
        texts = [f"{value:.2f} ({low:.2f}…{high:.2f})" for value, low, high in (score, distance)]
        print(f"{name:<20}  {texts[0]:>21}  {texts[1]:>24}")
        key = name.lower().replace(" ", "_")
        metrics[f"{key}_inception_score"] = score.value
        metrics[f"{key}_fid"] = distance.value

    rows = np.concatenate([samples[:14] for samples in images.values()])
    plot.save(plot.sample_grid(rows, levels=17, row_labels=list(images)), args.out / "samples.png")
    report(args.out, metrics | {"seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
