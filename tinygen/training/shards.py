"""Data parallelism on threads: parts (shards) of a minibatch are differentiated in parallel, each on one thread.

    ∂ (1/N) Σ ℓₙ = Σₛ (Nₛ/N) ∂ (1/Nₛ) Σ_{n in s} ℓₙ

Threads that split the batch synchronise once per step, not after every operation, and also parallelise the operations
that NumPy runs on one core. More shards than threads are faster if the intermediate results then fit into the cache.

Checked by: tests/training/test_shards.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Array, Tensor
from ..checks import at_least
from ..kernels.runtime.pool import parallel_for

Derivative = Callable[..., tuple[Tensor, Any]]


def sharded(derivative: Derivative, shards: int) -> Derivative:
    """Return a function that splits the batch into shards, calls `derivative` on each, and averages the results.

    Args:
        derivative: maps (*batch, rng=rng) to the value and gradients of a mean over the examples of the batch.
        shards: at least 1. Each shard gets a generator seeded from rng, so the result depends on their number, but
            not on the number of threads.

    Example:
        >>> from tinygen.autograd import Parameter, value_and_grad
        >>> w, x = Parameter([2.0]), np.arange(6.0)
        >>> whole = value_and_grad(lambda x, rng: (w * x * w * x).mean(), inputs=[w])
        >>> value, (gradient,) = sharded(whole, shards=3)(x, rng=np.random.default_rng(0))
        >>> gradient.value  # 2 w · mean(x²)
        array([36.666668], dtype=float32)
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

        def run(shard: int) -> None:
            rows = slice(bounds[shard], bounds[shard + 1])
            results[shard] = derivative(*(array[rows] for array in batch), rng=generators[shard])

        parallel_for(run, [(shard,) for shard in range(count)])
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
