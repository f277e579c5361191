"""Learning-rate schedules: functions from the number of steps taken so far to a learning rate, which can be pickled.

Checked by: tests/optim/test_schedules.py
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from ..arguments import checked
from ..checks import check_positive, require

Schedule: TypeAlias = Callable[[int], float]  # the learning rate of a step


@checked
def constant(lr: float) -> Schedule:
    """Return a schedule with the same learning rate at every step."""
    return partial(_constant, lr)


def _constant(lr: float, step: int) -> float:
    return lr


@checked
def cosine(lr: float, steps: int, warmup: int = 0) -> Schedule:
    """Return a schedule with linear warm-up to lr and cosine decay to 0.

        lr (t + 1) / warmup  for t < warmup,   lr (1 + cos π (t − warmup) / (steps − warmup)) / 2  after it

    Raises ValueError unless lr > 0 and 0 ≤ warmup < steps.
    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    Example:
        >>> schedule = cosine(1.0, steps=10, warmup=2)
        >>> [round(schedule(t), 3) for t in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    check_positive(lr=lr)
    require(0 <= warmup < steps, "warmup", f"at least 0 and below steps = {steps}", warmup)
    return partial(_cosine, lr, steps, warmup)


def _cosine(lr: float, steps: int, warmup: int, step: int) -> float:
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup)))) / 2
