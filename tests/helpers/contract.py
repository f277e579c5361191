"""What the tests of the autoregressive models share: random weights, and the slow sampler beside the model's own."""

from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinygen.autograd import Array
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.testing import draw_naively

Model = TypeVar("Model", bound=Autoregressive)


def randomised(model: Model, rng: np.random.Generator, scale: float = 0.5) -> Model:
    """The model in float64 with every parameter random, so that no term is hidden by a zero bias."""
    for parameter in model.astype(np.float64).parameters():
        parameter.assign(rng.normal(size=parameter.shape) * scale)
    return model


def check_step_by_step(model: Any, seed: int, permutation: Array | None = None, **order: int) -> None:
    """Draw two examples by the model's own sampler and by the naive one, and compare them variable by variable.

    A model of several orders is given one of them, and the permutation that it is.
    """
    labels = np.array([0, 1]) if model.classes else None
    fast, slow = np.zeros((2, 2, *model.shape), np.int64)
    fast += np.random.default_rng(seed).integers(-9, 1000, fast.shape)  # what a canvas holds before does not matter
    remembering = model.draw(fast, np.random.default_rng(seed), labels, **order)
    net = partial(model, labels=labels, **order)
    naive = draw_naively(net, model.output, slow, np.random.default_rng(seed), permutation)
    for remembered, anew in zip(remembering, naive, strict=True):
        np.testing.assert_allclose(remembered, anew, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(fast, slow)
