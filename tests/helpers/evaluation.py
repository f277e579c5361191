"""What a model samples and computes. Run as a program, it loads all models in a folder and writes their results."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import tinygen
from tinygen.autograd import Array


def evaluate(model: Any) -> dict[str, Array]:
    """Return samples and their log-probabilities; without them, the output of a GAN's critic or a loss."""
    x, rng = model.sample(3, np.random.default_rng(1)), np.random.default_rng(2)
    if hasattr(model, "criticise"):
        value = model.criticise(x).value
    elif hasattr(model, "elbo"):
        value = model.log_prob(np.clip(x, -3, 3), 2, rng)  # random decoders may have scales of e⁶
    else:
        value = model.log_prob(x).value if hasattr(model, "log_prob") else model.loss(x, rng=rng).value
    return {"samples": x, "value": value}


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        np.savez(path.with_suffix(".results"), **evaluate(tinygen.load(path)))  # type: ignore[arg-type]
