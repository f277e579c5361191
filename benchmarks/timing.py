"""Time training steps and other calls of tinygen and PyTorch in one process: same weights, same batch, same threads.

Both libraries are limited to `--threads` threads. Every comparison first checks that the two compute the same losses.
Where the batch consists of images, PyTorch is timed in both memory formats (NCHW, NHWC) and the faster one is reported.
A shard is a part of the batch that goes through the whole graph on one thread (`fit(…, shards=n)`).
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from tinygen import set_num_threads, value_and_grad
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.optim import Adam
from tinygen.training import sharded

Step = Callable[[], float | list[float]]

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
STEP_HEADER = (
    "A shard is a part of the batch that goes through the whole graph on one thread.\n\n"
    "| training step, ms | tinygen | tinygen, shards | PyTorch | ratio | ratio, shards |\n|---|---|---|---|---|---|"
)
SAMPLING_HEADER = "\n| sampling, s | tinygen | naive PyTorch | speed-up |\n|---|---|---|---|"


def parse_arguments(doc: str | None, **options: str) -> argparse.Namespace:
    """Parse --threads (for both libraries), --quick and further string options, given as name=help text."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads per library (default: 2)")
    parser.add_argument("--quick", action="store_true", help="smoke test: small sizes, too few repetitions to rely on")
    for name, text in options.items():
        parser.add_argument(f"--{name}", default="", help=text)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_num_threads(args.threads)
    keep_freed_memory()  # as in `fit`; affects the whole process, including PyTorch
    return args


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
) -> dict[str, Step]:
    """Return two training steps: as one graph, and in `shards` shards (by default, one per thread)."""
    shards = shards or torch.get_num_threads()
    parts = {"tinygen": 1, "tinygen, shards": shards}
    return {name: tinygen_step(model, *batch, rng=rng, shards=count, **options) for name, count in parts.items()}


def torch_step(loss: Callable[[], torch.Tensor], *modules: torch.nn.Module) -> Step:
    """Return the same training step in PyTorch, for the parameters of these modules."""
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters() if p.requires_grad], 1e-3)

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return float(value.item())

    return step


def check_same_losses(steps: Mapping[str, Step], atol: float = 0.0) -> None:
    """Take three steps of each; raise AssertionError if their losses differ by more than a relative 1e-4 plus atol."""
    for _ in range(3):
        first, *others = (step() for step in steps.values())
        for other in others:
            np.testing.assert_allclose(other, first, rtol=1e-4, atol=atol, err_msg=", ".join(steps))


def training_row(
    label: str, ours: Mapping[str, Step], theirs: Mapping[str, Step], *, atol: float = 0.0, **options: Any
) -> str:
    """Check that all steps have the same losses, then time them; return a table row. `options` go to `compare`."""
    check_same_losses({**ours, **theirs}, atol)
    return f"| {label} | {compare(ours, theirs, **options)} |"


def sampling_row(label: str, ours: float, theirs: float) -> str:
    """Return a row of the sampling table; times in seconds."""
    return f"| {label} | {ours:.3f} | {theirs:.2f} | {theirs / ours:.0f} × |"


def compare(
    ours: Mapping[str, Callable[[], object]],
    theirs: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    seconds: float = 0.1,
    digits: int = 2,
) -> str:
    """Return table cells: ms of each of `ours`, ms of the fastest of `theirs`, ratios (below 1: tinygen is faster)."""
    times = median_milliseconds({**ours, **theirs}, rounds, seconds)
    best = min(times[name] for name in theirs)
    cells = [f"{times[name]:.{digits}f}" for name in ours] + [f"{best:.{digits}f}"]
    return " | ".join(cells + [f"{times[name] / best:.2f}" for name in ours])


def median_milliseconds(
    calls: Mapping[str, Callable[[], object]], rounds: int = 5, seconds: float = 0.1
) -> dict[str, float]:
    """Return ms per call: the median over rounds of the median within a round, which lasts `seconds` per call.

    The order is reversed in every other round, so that no call always runs after the same one. The pause before each
    measurement lets the spinning threads of other libraries go to sleep.
    """
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls) if i % 2 == 0 else reversed(list(calls)):
            time.sleep(min(0.06, seconds))
            medians[name].append(_median_of_one_round(calls[name], seconds))
    return {name: statistics.median(times) * 1e3 for name, times in medians.items()}


def median_seconds(*calls: Callable[[], object], rounds: int = 3) -> list[float]:
    """Return the median seconds of each call over rounds that run each call once; for slow calls."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, results in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            results.append(time.perf_counter() - start)
    return [statistics.median(results) for results in times]


def _median_of_one_round(call: Callable[[], object], seconds: float) -> float:
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
