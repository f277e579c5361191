"""Claim: Inception Score and FID rank samples of four models between training images and independent pixels.

    python examples/sample_quality.py [--seeds 5] [--steps 500] [--out out/sample_quality] [--quick]

Trains:   for each seed a digit classifier, then a VAE, a GAN, a RealNVP and a PixelCNN on grey 8×8 digits.
Compares: Inception Score (IS) and FID of as many samples of each model as there are training images. Both are computed
          with the classifier of this example, so they cannot be compared with published values. FID is relative to the
          360 test images, which neither classifier nor models were trained on. The bias due to the small sample size is
          corrected by a bootstrap. The claim is about the best and the worst of the four models.
Prints:   both scores of each model and the verdict. The settings were not tuned, so a ranking of these four small
          models is not a ranking of the model classes.
Plots:    samples.png.
Time:     about 5 minutes on two cores (measured: 4.9 minutes of CPU time; 16.9 minutes beside other processes).
Source:   Salimans et al., "Improved techniques for training GANs", 2016; Heusel et al., "GANs trained by a two
          time-scale update rule converge to a local Nash equilibrium", 2017.
"""

import numpy as np
from common.claims import Effect
from common.digit_classifier import train_classifier
from common.digit_models import MODELS
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training
from numpy.typing import NDArray

from tinygen.data import digits
from tinygen.metrics import bootstrap, fid, inception_score

MIN_ACCURACY = 0.97  # of the classifier; below this, its scores are not trusted
NAME, TRAINING, INDEPENDENT = "all models", "training images", "independent pixels"


def train(run: Training) -> Results:
    rng, train, test = run.rng(), digits("train"), digits("test")
    assert train.labels is not None
    classifier = train_classifier(train.pixels, train.labels, run.part("classifier", 3), rng)
    probabilities, reference = classifier.predict(test.pixels)
    results: Results = {"classifier_accuracy": float((probabilities.argmax(1) == test.labels).mean())}
    if results["classifier_accuracy"] < MIN_ACCURACY and not run.quick:
        raise AssertionError(
            f"classifier: expected an accuracy of {MIN_ACCURACY}, got {results['classifier_accuracy']}"
        )
    x = train.pixels[rng.permutation(len(train))]
    images: dict[str, NDArray[np.integer]] = {TRAINING: x}
    for name, train_and_sample in MODELS.items():
        images[name] = train_and_sample(x, run, rng)
    images[INDEPENDENT] = rng.permuted(x, axis=0)
    for name, samples in images.items():
        probabilities, features = classifier.predict(samples)
        results[f"{name}, IS"] = bootstrap(inception_score, probabilities, rng=rng).value
        results[f"{name}, FID"] = bootstrap(fid, features, reference, rng=rng).value
        results[f"{name}, images"] = samples[:14].astype(np.uint8)
    return results


def show(report: Report) -> None:
    report.unit = "Inception Score (IS), FID and accuracy"
    scores = {name: np.array([report.values(f"{model}, {name}", NAME) for model in MODELS]) for name in ("IS", "FID")}
    best = {name: report.values(f"{TRAINING}, {name}", NAME) for name in scores}
    worst = {name: report.values(f"{INDEPENDENT}, {name}", NAME) for name in scores}
    report.decide(
        Effect("training images − best model", best["IS"] - scores["IS"].max(0), "IS", above=0),
        Effect("worst model − independent pixels", scores["IS"].min(0) - worst["IS"], "IS", above=0),
        Effect("best model − training images", scores["FID"].min(0) - best["FID"], "FID", above=0),
        Effect("independent pixels − worst model", worst["FID"] - scores["FID"].max(0), "FID", above=0),
    )
    rows = [TRAINING, *MODELS, INDEPENDENT]
    images = np.concatenate([report.first(f"{name}, images")[NAME] for name in rows])
    report.save_grid(images, "samples.png", levels=17, row_labels=rows)


if __name__ == "__main__":
    study(train, show, [NAME], steps=500, quick=6)
