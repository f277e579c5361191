"""Parts of a minibatch go through the whole graph side by side, each on one thread.

The derivative of a mean over examples is the mean of its parts' derivatives, weighted by their sizes:

    ∂ (1/N) Σ ℓₙ = Σₛ (Nₛ/N) ∂ (1/Nₛ) Σ_{n in s} ℓₙ

Threads that share out one operation after another meet at the end of each; threads that share out the examples meet
once in a step, and what NumPy does on one core only is shared out too. More shards than threads pay where they are so
small that what one operation leaves is still in the cache for the next.

Checked by: tests/training/test_shards.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Array, Tensor
from ..checks import at_least
from ..kernels.runtime.pool import parallel

Derivative = Callable[..., tuple[Tensor, Any]]


def sharded(derivative: Derivative, shards: int) -> Derivative:
    """Return a derivative(*batch, rng=rng) that does what the one given does, in so many parts of the batch.

    It must be of a mean over the examples of the batch. With more than one shard each gets a generator of its own,
    seeded from rng; the numbers depend on the number of shards, not on the number of threads.
    Raises ValueError if shards is below 1.
    """
    at_least(1, shards=shards)

    def sharded_derivative(*batch: Array, rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
        n = len(batch[0])
        count = min(shards, n)
        if count <= 1:
            return derivative(*batch, rng=rng)
        generators = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=(count, 2))]
        bounds = [shard * n // count for shard in range(count + 1)]
        results: list[Any] = [None] * count

        def run(start: int, stop: int) -> None:
            for shard in range(start, stop):
                rows = slice(bounds[shard], bounds[shard + 1])
                results[shard] = derivative(*(array[rows] for array in batch), rng=generators[shard])

        parallel(run, count)
        return _weighted_mean(results, [(b - a) / n for a, b in pairwise(bounds)])

    return sharded_derivative


def _weighted_mean(results: list[tuple[Tensor, list[Tensor]]], weights: list[float]) -> tuple[Tensor, list[Tensor]]:
    value = np.asarray(sum(weight * value.value for weight, (value, _) in zip(weights, results, strict=True)))
    gradients = []
    for same_parameter in zip(*(gradients for _, gradients in results), strict=True):
        mean = weights[0] * same_parameter[0].value
        for weight, gradient in zip(weights[1:], same_parameter[1:], strict=True):
            mean += weight * gradient.value
        gradients.append(Tensor(mean))
    return Tensor(value), gradients
