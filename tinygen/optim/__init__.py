"""Optimisers, learning-rate schedules, gradient clipping and an exponential moving average of the parameters.

    adam = Adam(model.parameters(), lr=cosine(1e-3, steps=10_000, warmup=100))
    loss, gradients = value_and_grad(model.loss, inputs=model.parameters())(x)
    gradients, norm = clip_by_global_norm(gradients, 1.0)
    adam.step(gradients)

A step assigns new arrays to the parameters; it does not modify the old arrays in place.
"""

from .clipping import NonFiniteGradientError, StepOverflowError, clip_by_global_norm
from .ema import EMA
from .optimizers import SGD, Adam, AdamW, Optimizer
from .schedules import Schedule, constant, cosine

__all__ = [
    "EMA", "SGD", "Adam", "AdamW", "NonFiniteGradientError", "Optimizer", "Schedule", "StepOverflowError",
    "clip_by_global_norm", "constant", "cosine",
]  # fmt: skip
