"""Training steps as one graph and in shards, and products in OpenBLAS, on an idle machine and beside a busy process.

    python -m benchmarks.threads [--threads 2] [--quick] [--save]

The steps show what `fit` chooses: the mean number of elements per tensor in the graph, the median milliseconds as one
graph on one thread, as one graph on several threads and in shards (a shard is a part of the batch that goes through the
whole graph on one thread), and the number of shards that `fit` would choose. The products show the mean milliseconds in
OpenBLAS on several threads, in OpenBLAS on one thread, and in tinygen; unlike the median, the mean includes rare long
waits for a CPU. `benchmarks.scaling` compares thread counts with PyTorch, which is not needed here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.record import Row, add_arguments, report
from tinygen import set_num_threads, value_and_grad
from tinygen.kernels import product
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.models import MADE, MAF, GatedPixelCNN, PixelCNN, PixelRNN, RealNVP, WaveNet
from tinygen.optim import Adam
from tinygen.training import sharded
from tinygen.training.shards import choose_shards, mean_tensor_size

Rng = np.random.Generator


def bits(rng: Rng, n: int, side: int) -> Any:
    return (rng.random((n, side, side, 1)) < 0.3).astype(np.uint8)


def cases(rng: Rng) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, model, batch)."""
    for side in 8, 28:
        images = bits(rng, 64, side)
        yield f"Gated PixelCNN, 8 layers of 32, {side}²", GatedPixelCNN((side, side, 1), 2, rng, layers=8), images
        yield f"PixelCNN, 8 blocks of 32, {side}²", PixelCNN((side, side, 1), 2, rng, blocks=8), images
    yield "pixel RNN, 128, 8²", PixelRNN((8, 8, 1), 2, rng, hidden=128), bits(rng, 64, 8)
    yield "MADE, 784-512-784", MADE((28, 28, 1), 2, rng, hidden=(512,)), bits(rng, 64, 28)
    yield "WaveNet, 8 × 256", WaveNet((256, 1), 32, rng), rng.integers(0, 32, (8, 256, 1))
    yield "RealNVP, 8²", RealNVP((8, 8, 1), rng, scales=2, hidden=32), rng.normal(size=(64, 8, 8, 1)).astype(np.float32)
    yield "MAF, 16", MAF(16, rng, hidden=(128, 128)), rng.normal(size=(256, 16)).astype(np.float32)


def training_step(model: Any, batch: Any, rng: Rng, shards: int) -> Callable[[], object]:
    optimizer = Adam(model.parameters(), 1e-4)
    derivative: Callable[..., Any] = sharded(value_and_grad(model.loss, optimizer.parameters), shards)
    return lambda: optimizer.step(derivative(batch, rng=rng)[1])


def milliseconds(call: Callable[[], object], seconds: float, summary: Callable[[Any], Any] = np.median) -> float:
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(summary(times))


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def steps(threads: int, seconds: float, quick: bool, where: str) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for name, model, batch in [next(cases(rng))] if quick else cases(rng):
        loss = model.loss(batch, rng=rng)
        values: dict[str, float | str] = {"mean size": mean_tensor_size(loss)}
        set_num_threads(1)
        values["1 thread"] = milliseconds(training_step(model, batch, rng, 1), seconds)
        set_num_threads(threads)
        for n in (1, threads, 2 * threads):
            key = f"{threads} threads" if n == 1 else f"{n} shards"
            values[key] = milliseconds(training_step(model, batch, rng, n), seconds)
        yield Row(f"step in shards, ms{where}", name, {**values, "fit": f"{choose_shards(loss)} shards"})


def products(threads: int, seconds: float, where: str) -> Iterator[Row]:
    for m, k, n in (256, 64, 64), (256, 256, 256), (512, 512, 512):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        values: dict[str, float | str] = {}
        for limit in threads, 1:
            with threadpool_limits(limit):
                times = milliseconds(partial(np.matmul, a, b), seconds, np.mean)
                values[f"OpenBLAS, {limit} thread{'s' * (limit > 1)}"] = times
        values[f"tinygen, {threads} threads"] = milliseconds(partial(product, a, b), seconds, np.mean)
        yield Row(f"product, mean ms{where}", f"{m}×{k}×{n}", values)


def rows(threads: int, quick: bool) -> Iterator[Row]:
    seconds = 0.05 if quick else 0.5
    yield from steps(threads, seconds, quick, "")
    yield from products(threads, seconds, "")
    with busy_process():
        yield from steps(threads, seconds, quick, ", beside a busy process")
        yield from products(threads, seconds, ", beside a busy process")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    keep_freed_memory()
    report("threads", rows(args.threads, args.quick), args)
