"""The machine's limits, measured: multiply-adds in registers, and copying memory; and the errors of kernels in ulps.

python -m benchmarks.peak [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from benchmarks import timing
from benchmarks.record import Row, report
from tinygen.kernels.runtime.compilation import compiled
from tinygen.kernels.runtime.registers import TILE_ROWS, lanes
from tinygen.kernels.runtime.tile import fma, store, zeros

Array = np.ndarray[Any, np.dtype[Any]]

_TILE = (0,) * TILE_ROWS[0], (0,) * 2  # the lengths are the shape of a tile: enough sums to hide the latency of an FMA


@compiled
def _multiply_add(rows: Any, vectors: Any, x: Array, w: Array, y: Array, repeats: int) -> None:
    """Accumulate a tile from operands that stay in the first cache level."""
    acc = zeros(rows, vectors, y)
    for _ in range(repeats):
        for k in range(64):
            acc = fma(acc, x, k, 64, w, 0)
    store(y, 0, 64, 64, acc)


def gflops(threads: int, repeats: int) -> float:
    """Return the rate of float32 multiply-adds, each of them two operations, in GFLOP/s."""
    x, w = np.full((2, 4096), 0.5, np.float32)
    ys = np.zeros((threads, 4096), np.float32)
    operations = 2 * 64 * repeats * len(_TILE[0]) * len(_TILE[1]) * lanes(x.dtype) * threads
    with ThreadPoolExecutor(threads) as pool:
        seconds = min(
            timing.seconds_of(lambda: list(pool.map(lambda y: _multiply_add(*_TILE, x, w, y, repeats), ys)))
            for _ in range(5)
        )
    return operations / seconds / 1e9


def gigabytes_per_second(threads: int, mebibytes: int) -> float:
    """Return the rate of copying arrays that fit in no cache; bytes read and bytes written both count."""
    x = np.ones((threads, mebibytes << 18), np.float32)
    y = np.empty_like(x)
    with ThreadPoolExecutor(threads) as pool:
        seconds = min(timing.seconds_of(lambda: list(pool.map(np.copyto, y, x))) for _ in range(7))
    return 2 * x.nbytes / seconds / 1e9


def ulps(result: Array, exact: torch.Tensor) -> float:
    """Return the largest error, in float32 ulps of the exact result's root mean square.

    An element's own ulp would measure the cancellation in its sum instead of the kernel.
    """
    reference = exact.detach().numpy()
    scale = np.float32(np.sqrt(np.mean(np.square(reference))))
    return float(np.abs(result.astype(np.float64) - reference).max() / np.spacing(scale))


def rows(threads: int, quick: bool) -> Iterator[Row]:
    """Yield the limits for one thread and for all."""
    for count in dict.fromkeys((1, threads)):
        values: dict[str, float | str] = {"GFLOP/s": gflops(count, 1000 if quick else 500_000)}
        yield Row(
            "limit",
            f"{count} thread{'s' * (count > 1)}",
            {**values, "GB/s": gigabytes_per_second(count, 1 if quick else 64)},
        )


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("peak", rows(args.threads, args.quick), args)
