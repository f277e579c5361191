"""Sampling and evaluation on the ranks of MPI, in batches: the results do not depend on the number of ranks.

Checked by: tests/distributed/test_evaluation.py, tests/distributed/test_mpi.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arguments import explained
from ..autograd import Array, Tensor, no_grad
from ..autograd.tensor import value_of
from ..checks import at_least, check_array, require
from ..nn import Module
from ..recorded import fingerprint, generator_fingerprint
from .ranks import ranks_of, shares


@explained
def sample(
    model: Any,
    n: int,
    rng: np.random.Generator,
    *context: Array,
    comm: Any = None,
    batch_size: int = 64,
    **options: Any,
) -> Array:
    """Draw n samples (n, …) on the ranks of `comm`. Every rank returns all of them.

    The samples are drawn in batches, each with its own generator that is seeded from rng. So they depend on the batch
    size but not on the number of ranks, and differ from those of `model.sample(n, rng)`, which have the same
    distribution.

    Args:
        model: has a method sample(n, rng, *context).
        context: labels or context of each sample, (n, …).
        comm: communicator of mpi4py. All ranks must call this function, with equal arguments.
        options: further arguments of `model.sample`. Arrays have one row for each sample, such as `features` (n, …).

    Raises: ValueError if an argument is invalid, or is not the same on all ranks.

    Example:
        >>> from tinygen.distributions import StandardNormal
        >>> sample(StandardNormal((3,)), 100, np.random.default_rng(0)).shape
        (100, 3)
    """
    require(callable(getattr(model, "sample", None)), "model", "a model with a method sample", repr(model))

    def draw(rows: slice, generator: np.random.Generator) -> Array:
        count = rows.stop - rows.start
        x = np.asarray(model.sample(count, generator, *(array[rows] for array in context), **_rows_of(options, rows)))
        require(x.shape[:1] == (count,), "model", f"{count} samples", f"shape {x.shape}")
        return x

    return np.concatenate(_map_batches(draw, model, n, rng, {"context": context}, options, comm, batch_size))


@explained
def mean_log_prob(
    model: Any,
    x: Array,
    *context: Array,
    rng: np.random.Generator | None = None,
    comm: Any = None,
    batch_size: int = 64,
    **options: Any,
) -> float:
    """Return the mean of model.log_prob(x, *context) over the examples, in nats, computed on the ranks of `comm`.

    The last bits of the result depend on the batch size, but not on the number of ranks.

    Args:
        model: has a method log_prob.
        x: the examples, (N, …).
        context: labels or context of each example, (N, …).
        rng: for a model that estimates ln p(x), such as a VAE, which then also needs the option k.
        comm: communicator of mpi4py. All ranks must call this function, with equal arguments.
        options: further arguments of `model.log_prob`. Arrays have one row for each example.

    Raises: ValueError if an argument is invalid, or is not the same on all ranks.

    Example:
        >>> from tinygen.distributions import StandardNormal
        >>> mean_log_prob(StandardNormal((1,)), np.zeros((4, 1)))  # −½ ln 2π
        -0.9189385332046727
    """
    require(callable(getattr(model, "log_prob", None)), "model", "a model with a method log_prob", repr(model))
    check_array("x", x)
    require(x.ndim > 0 and len(x) > 0, "x", "at least one example", f"shape {x.shape}")

    def log_prob(rows: slice, generator: np.random.Generator | None) -> Array:
        given = _rows_of(options, rows) | ({} if generator is None else {"rng": generator})
        y = np.asarray(value_of(model.log_prob(x[rows], *(array[rows] for array in context), **given)))
        require(y.shape == (len(x[rows]),), "model", f"log-probabilities ({len(x[rows])},)", f"shape {y.shape}")
        return y

    parts = _map_batches(log_prob, model, len(x), rng, {"x": (x,), "context": context}, options, comm, batch_size)
    return float(np.concatenate(parts).mean(dtype=np.float64))


def _rows_of(options: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Return the options with these rows of each array."""
    return {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in options.items()}


def _map_batches(
    function: Callable[[slice, Any], Array],
    model: Any,
    n: int,
    rng: np.random.Generator | None,
    arrays: dict[str, tuple[Array, ...]],
    options: dict[str, Any],
    comm: Any,
    batch_size: int,
) -> list[Array]:
    """Return function(rows, generator) of each of the batches of range(n), computed on the ranks of `comm`."""
    at_least(1, n=n, batch_size=batch_size)
    arrays = arrays | {name: (value,) for name, value in options.items() if isinstance(value, np.ndarray)}
    for name, value in options.items():  # each batch would get the first rows
        rows = isinstance(value, list | tuple | Tensor) and np.shape(value_of(value))[:1] == (n,)
        require(not rows, name, "a NumPy array, which has one row for each example", type(value).__name__)
    scalars = {name: value for name, value in options.items() if isinstance(value, int | float | str)}
    for name, each in arrays.items():
        for array in each:
            check_array(name, array)
            require(array.shape[:1] == (n,), name, f"{n} rows", f"shape {array.shape}")
    generators: list[np.random.Generator | None] = [None] * (count := -(-n // batch_size))
    ranks, state = ranks_of(comm), None
    if rng is not None:
        state = generator_fingerprint(rng)
        generators = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=(count, 2))]

    def arguments() -> dict[str, Any]:
        parameters = model.state() if isinstance(model, Module) else {}
        prints = {name: [fingerprint(array) for array in each] for name, each in arrays.items()}
        prints |= {name: [fingerprint(array)] for name, array in parameters.items()}
        return {"n": n, "batch_size": batch_size, "rng": state, **scalars, **prints}

    ranks.check_equal(arguments, "in this call")
    with no_grad(), ranks.own_cpus():
        rows = shares(n, count)
        own = [function(slice(rows[i].start, rows[i].stop), generators[i]) for i in ranks.share(count)]
    return ranks.gather(own)
