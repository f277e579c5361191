"""Learning-rate schedules: their values and their argument checks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinygen import optim
from tinygen.autograd import Parameter


def test_schedules_have_known_values() -> None:
    assert [optim.constant(0.1)(t) for t in (0, 9)] == [0.1, 0.1]
    cosine = optim.cosine(2.0, steps=12, warmup=4)
    assert [cosine(t) for t in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert math.isclose(cosine(8), 1.0)
    assert math.isclose(cosine(10), 1 + math.cos(3 * math.pi / 4))
    assert cosine(12) == cosine(100) == 0.0


def test_optimizer_calls_schedule_once_per_step_from_zero() -> None:
    steps: list[int] = []
    p = Parameter(np.zeros(1))

    def schedule(step: int) -> float:
        steps.append(step)
        return float(10.0**-step)

    sgd = optim.SGD([p], schedule)
    for _ in range(3):
        sgd.step([np.ones(1)])
    assert steps == [0, 1, 2]
    assert np.allclose(p.value, -1.11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.cosine(0.1, steps=5, warmup=5), "warmup: expected .* below steps = 5, got 5"),
        (lambda: optim.cosine(0.0, steps=5), "lr: expected .*, got 0.0"),
        (lambda: optim.cosine(math.inf, steps=5), "lr: expected .*, got inf"),
    ],
)
def test_rejects_invalid_settings(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
