"""Time training steps and other calls of tinygen, PyTorch and JAX in one process: same weights, same batch and threads.

A `Case` makes one training step per library. Their losses are compared before they are timed. Where the batch
consists of images, PyTorch is timed in both memory formats (NCHW, NHWC) and the faster one is reported. A shard is a
part of the batch that goes through the whole graph on one thread (`fit(…, shards=n)`). JAX is optional; what it
compiles is timed separately.
"""

import argparse
import copy
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import cpus, record
from benchmarks.cpus import wait_for_cpus
from benchmarks.operations import operations
from benchmarks.record import Row
from tinygen import set_num_threads, value_and_grad
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.optim import Adam
from tinygen.training import sharded

Step = Callable[[], float | list[float]]
Steps = dict[str, Callable[[], Step]]  # what makes the step of each library: "tinygen", "PyTorch, NCHW", "JAX", …

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
STEP, SAMPLING = "training step, ms", "sampling, ms"


class Case(NamedTuple):
    """A training step in every library.

    Args:
        build: maps a batch size to a function per library that makes its step; every step has its own weights.
        check: the same, with equal random numbers, where the steps to time have different ones.
        seconds, rounds: how long each step is timed in a round, and the number of rounds.
        atol: absolute tolerance of the comparison of losses.
    """

    name: str
    batch: int
    build: Callable[[int], Steps]
    check: Callable[[int], Steps] | None = None
    seconds: float = 0.5
    rounds: int = 5
    atol: float = 0.0


def parse_arguments(doc: str | None, **options: str) -> argparse.Namespace:
    """Parse the options of a comparison, and string options given as name=help text; limit all libraries' threads."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    record.add_arguments(parser)
    for name, text in options.items():
        parser.add_argument(f"--{name}", default="", help=text)
    args = parser.parse_args()
    use_threads(args.threads)
    cpus.PATIENCE = 0.0 if args.quick else cpus.PATIENCE
    keep_freed_memory()  # as in `fit`; affects the whole process, including PyTorch
    if not jax_is_installed():
        print("JAX is not installed: its columns are left out (pip install jax)", file=sys.stderr)
    return args


def use_threads(threads: int) -> None:
    """Limit all libraries to this many threads. JAX reads its limit only once, when it runs first."""
    torch.set_num_threads(threads)
    set_num_threads(threads)
    os.environ["NPROC"] = str(threads)


def if_installed(in_jax: Callable[[], Step]) -> Steps:
    """Return a step in JAX by name, or nothing where JAX is not installed."""
    return {"JAX": in_jax} if jax_is_installed() else {}


def jax_is_installed() -> bool:
    return importlib.util.find_spec("jax") is not None


def tinygen_step(model: Any, *batch: np.ndarray, rng: np.random.Generator, shards: int = 1, **options: Any) -> Step:
    """Return a function that trains a copy of the model for one step and returns its loss; `options` go to `loss`."""
    model = copy.deepcopy(model)
    optimizer = Adam(model.parameters(), 1e-3)
    derivative: Callable[..., Any] = value_and_grad(partial(model.loss, **options), optimizer.parameters)
    if shards > 1:
        derivative = sharded(derivative, shards)

    def step() -> float:
        loss, gradients = derivative(*batch, rng=rng)
        optimizer.step(gradients)
        return loss.item()

    return step


def tinygen_steps(
    model: Any, *batch: np.ndarray, rng: np.random.Generator, shards: int | None = None, **options: Any
) -> Steps:
    """Return two training steps: as one graph, and in `shards` shards (by default, one per thread)."""
    shards = min(shards or torch.get_num_threads(), len(batch[0]))
    parts = {"tinygen": 1, "tinygen, shards": shards}
    return {name: partial(tinygen_step, model, *batch, rng=rng, shards=n, **options) for name, n in parts.items()}


def torch_step(loss: Callable[[], torch.Tensor], *modules: torch.nn.Module) -> Step:
    """Return the same training step in PyTorch, for the parameters of these modules."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)  # faster than the default, fused=False

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return float(value.item())

    return step


def check_same_losses(steps: Mapping[str, Step], atol: float = 0.0) -> dict[str, float]:
    """Take three steps of each; return the seconds of each first step.

    Raises: AssertionError if the losses differ by more than a relative 1e-4 plus atol.
    """
    seconds: dict[str, float] = {}
    for i in range(3):
        losses = []
        for name, step in steps.items():
            start = time.perf_counter()
            losses.append(step())
            seconds.setdefault(name, time.perf_counter() - start)
        for other in losses[1:]:
            np.testing.assert_allclose(other, losses[0], rtol=1e-4, atol=atol, err_msg=f"step {i}: {', '.join(steps)}")
    return seconds


def training_rows(cases: Iterable[Case]) -> Iterator[Row]:
    """Check that the steps of each case have the same losses, then time them.

    The compile time of JAX is that of its first step without that of a later one.
    """
    for case in cases:
        steps = {name: make() for name, make in case.build(case.batch).items()}
        if case.check is None:
            first = check_same_losses(steps, case.atol)
        else:
            check_same_losses({name: make() for name, make in case.check(case.batch).items()}, case.atol)
            first = {name: seconds_of(step) for name, step in steps.items()}
        values = best(median_milliseconds(steps, case.rounds, case.seconds))
        values = with_rates(values, operations(steps["tinygen"]))
        if "JAX" in values:
            values["JAX compile, s"] = max(0.0, first["JAX"] - values["JAX"] / 1e3)
        yield Row(STEP, case.name, with_ratio(values))


def seconds_of(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def sampling_row(name: str, ours: float, naive: float, cached: float | None = None) -> Row:
    """Return a row of the sampling table from seconds; `cached` is PyTorch with cached activations."""
    values = {"tinygen": 1e3 * ours} | ({} if cached is None else {"PyTorch": 1e3 * cached, "ratio": ours / cached})
    return Row(SAMPLING, name, {**values, "naive PyTorch": 1e3 * naive, "naive / tinygen": naive / ours})


def best(times: Mapping[str, float]) -> dict[str, Any]:
    """Merge the entries of one library's memory formats, such as "PyTorch, NCHW": keep the smallest number."""
    merged: dict[str, Any] = {}
    for name, value in times.items():
        library = name.split(", N")[0]
        merged[library] = min(value, merged.get(library, value))
    return merged


def with_ratio(values: Mapping[str, Any]) -> dict[str, Any]:
    """Append tinygen's value divided by PyTorch's (below 1: tinygen is better)."""
    return {**values, "ratio": values["tinygen"] / values["PyTorch"]} if "PyTorch" in values else dict(values)


def with_rates(values: Mapping[str, Any], operations: float, size: float = 0.0) -> dict[str, Any]:
    """Append the rates of tinygen and PyTorch from ms: GFLOP/s, or GB/s for `size` bytes without operations."""
    unit, work = ("GFLOP/s", operations) if operations else ("GB/s", size)
    names = {"tinygen": unit, "PyTorch": f"PyTorch {unit}"} if work else {}
    return {**values, **{name: work / values[library] / 1e6 for library, name in names.items() if library in values}}


def compare(ours: Callable[[], object], theirs: Mapping[str, Callable[[], object]], **options: Any) -> dict[str, Any]:
    """Return the times of tinygen and of the fastest in PyTorch, and their ratio; `options` go to the timing."""
    times = median_milliseconds({"tinygen": ours, **theirs}, **options)
    return with_ratio({"tinygen": times["tinygen"], "PyTorch": min(times[name] for name in theirs)})


def median_milliseconds(
    calls: Mapping[str, Callable[[], object]], rounds: int = 5, seconds: float = 0.1
) -> dict[str, float]:
    """Return ms per call: the median over rounds of the median within a round, which lasts `seconds` per call.

    The order is reversed in every other round, so that no call always runs after the same one. The pause before each
    measurement lets the spinning threads of other libraries go to sleep; then it waits for the CPUs.
    """
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls) if i % 2 == 0 else reversed(list(calls)):
            time.sleep(min(0.06, seconds))
            wait_for_cpus(torch.get_num_threads())
            medians[name].append(_median_of_one_round(calls[name], seconds))
    return {name: statistics.median(times) * 1e3 for name, times in medians.items()}


def median_seconds(*calls: Callable[[], object], rounds: int = 3) -> list[float]:
    """Return the median seconds of each call over rounds that run each call once; for slow calls."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for column, call in zip(times, calls, strict=True):
            wait_for_cpus(torch.get_num_threads())
            column.append(seconds_of(call))
    return [statistics.median(column) for column in times]


def _median_of_one_round(call: Callable[[], object], seconds: float) -> float:
    call()
    times: list[float] = []
    while len(times) < 200 and sum(times) < (seconds if len(times) >= 2 else 2 * seconds + 1):
        times.append(seconds_of(call))
    return statistics.median(times)
