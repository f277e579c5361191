"""Data parallelism: the gradients of parts (shards) of a minibatch are computed on several threads and MPI ranks.

    ∂ (1/N) Σ ℓₙ = Σₛ (Nₛ/N) ∂ (1/Nₛ) Σ_{n in s} ℓₙ

Compared with parallel kernels, shards synchronise once per step instead of after every operation, and also parallelise
NumPy operations that run on one core. But the GIL lets only one thread run Python code at a time, so shards are slower
where tensors are small: `choose_shards` decides by the size of the tensors in the graph.

Checked by: tests/training/test_shards.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Array, Tensor
from ..checks import at_least, require
from ..distributed.ranks import Ranks
from ..kernels.runtime.pool import get_num_threads, parallel_for
from ..nn import Module

Derivative = Callable[..., tuple[Tensor, Any]]


def sharded(derivative: Derivative, shards: int, ranks: Ranks | None = None) -> Derivative:
    """Return a function that splits the batch into shards, calls `derivative` on each, and averages the results.

    Args:
        derivative: maps (*batch, rng=rng) to the value and gradients of a mean over the examples of the batch.
        shards: at least 1. Each shard gets a generator seeded from rng, so the result depends on their number, but
            not on the number of threads or ranks.
        ranks: each rank computes its share of the shards. By default there is one, without MPI.

    Example:
        >>> from tinygen.autograd import Parameter, value_and_grad
        >>> w, x = Parameter([2.0]), np.arange(6.0)
        >>> whole = value_and_grad(lambda x, rng: (w * x * w * x).mean(), inputs=[w])
        >>> value, (gradient,) = sharded(whole, shards=3)(x, rng=np.random.default_rng(0))
        >>> gradient.value  # 2 w · mean(x²)
        array([36.666668], dtype=float32)
    """
    ranks, alone = ranks or Ranks(), Ranks()
    at_least(1, shards=shards)
    require(shards >= ranks.size, "shards", f"at least the {ranks.size} ranks of comm", shards)

    def sharded_derivative(*batch: Array, rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
        n = len(batch[0])
        count = min(shards, n)
        if count <= 1:
            return derivative(*batch, rng=rng)
        group = ranks if count >= ranks.size else alone  # every rank evaluates a batch that is too small to divide
        generators = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=(count, 2))]
        bounds = [shard * n // count for shard in range(count + 1)]
        own = group.share(count)
        terms: list[list[Array]] = [[]] * len(own)

        def run(shard: int) -> None:
            start, stop = bounds[shard], bounds[shard + 1]
            value, gradients = derivative(*(array[start:stop] for array in batch), rng=generators[shard])
            weight = (stop - start) / n
            terms[shard - own.start] = [np.asarray(weight * tensor.value) for tensor in (value, *gradients)]

        parallel_for(run, [(shard,) for shard in own])
        value, *gradients = map(Tensor, group.add(terms, count))
        return value, gradients

    return sharded_derivative


def mean_tensor_size(loss: Tensor) -> float:
    """Return the mean number of elements of the non-leaf tensors in the graph of a loss."""
    found, stack = {id(loss): loss.size}, [loss]
    while stack:
        for parent, _ in stack.pop().edges:
            if parent.edges and id(parent) not in found:
                found[id(parent)] = parent.size
                stack.append(parent)
    return sum(found.values()) / len(found)


def choose_shards(loss: Tensor) -> int:
    """Choose the number of shards, given the loss of a whole batch, by its graph and the number of threads.

    Measured on two cores of an AMD EPYC (`python -m benchmarks.threads`): shards are faster if the mean tensor size is
    at least 2¹⁷; from 2²⁰ on, two shards per thread are faster still, since their tensors fit into the cache.
    """
    mean_size = mean_tensor_size(loss)
    return 1 if mean_size < 1 << 17 else get_num_threads() * (1 if mean_size < 1 << 20 else 2)


def is_mean_over_examples(loss: Callable[..., Tensor]) -> bool:
    """Return whether a loss is known to be a mean of one term per example: the `loss` of a tinygen model is.

    A part of another class may use statistics of the batch.
    """
    model, method = getattr(loss, "__self__", None), getattr(loss, "__func__", None)
    parts = model.named_modules().values() if isinstance(model, Module) else ()
    return all(getattr(part, "__module__", "").startswith("tinygen.") for part in (method, *map(type, (model, *parts))))
