"""Training steps on one and on several threads, on an idle machine and next to a busy process. PyTorch is not needed.

    python -m benchmarks.threads [--threads 2] [--quick]

Prints the mean number of elements per tensor in the graph, the median milliseconds of a step as one graph on one
thread, as one graph on several threads and in shards (a shard is a part of the batch that goes through the whole graph
on one thread), and the number of shards that `fit` would choose. Then prints the mean milliseconds of a matrix product
in OpenBLAS on several threads, in OpenBLAS on one thread, and in tinygen; unlike the median, the mean includes rare
long waits for a CPU. The second half of the tables is measured while another process keeps one core busy.
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


def steps(threads: int, seconds: float, quick: bool) -> None:
    print(
        f"\n| ms per step | mean size | 1 thread | {threads} threads | {threads} shards | {2 * threads} shards | fit |"
    )
    print("|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for name, model, batch in [next(cases(rng))] if quick else cases(rng):
        set_num_threads(1)
        times = [milliseconds(training_step(model, batch, rng, 1), seconds)]
        set_num_threads(threads)
        times += [milliseconds(training_step(model, batch, rng, n), seconds) for n in (1, threads, 2 * threads)]
        loss = model.loss(batch, rng=rng)
        row = " | ".join(f"{t:.1f}" for t in times)
        print(f"| {name} | {mean_tensor_size(loss):,.0f} | {row} | {choose_shards(loss)} |", flush=True)


def products(threads: int, seconds: float) -> None:
    print(f"\n| mean ms per product | OpenBLAS, {threads} threads | OpenBLAS, 1 thread | tinygen, {threads} threads |")
    print("|---|---|---|---|")
    for m, k, n in (256, 64, 64), (256, 256, 256), (512, 512, 512):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        row = []
        for limit in threads, 1:
            with threadpool_limits(limit):
                row.append(milliseconds(partial(np.matmul, a, b), seconds, np.mean))
        row.append(milliseconds(partial(product, a, b), seconds, np.mean))
        print(f"| {m} × {k} × {n} | {' | '.join(f'{t:.3f}' for t in row)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument("--quick", action="store_true", help="smoke test: one model, too few repetitions to rely on")
    args = parser.parse_args()
    keep_freed_memory()
    seconds = 0.05 if args.quick else 1.0
    print("## Idle machine")
    steps(args.threads, seconds, args.quick)
    products(args.threads, seconds)
    print("\n## Next to a busy process")
    with busy_process():
        steps(args.threads, seconds, args.quick)
        products(args.threads, seconds)
