"""The cost of a first run: importing tinygen, and compiling its kernels or loading them from Numba's cache.

Every time is measured in fresh processes. The workload is a training step, a likelihood evaluation and sampling of the
network in `examples/pixelcnn.py`, run twice: the first run includes compiling or loading all kernels.

    python -m benchmarks.first_run [--quick] [--save]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.record import Row, add_arguments, report

WORK = """
import time
import numpy as np
from tinygen.models import GatedPixelCNN
from tinygen.optim import EMA, Adam
from tinygen.training import fit

def work():
    start, rng = time.perf_counter(), np.random.default_rng(0)
    model = GatedPixelCNN((8, 8, 1), 2, rng, channels=32, layers=5, dropout=0.3)
    x, ema = rng.integers(0, 2, (64, 8, 8, 1)), EMA(model.parameters(), 0.9)
    optimizer = Adam(model.parameters(), 1e-3)
    fit(model.loss, model, x, optimizer=optimizer, batch_size=32, rng=rng, steps=1, ema=ema, progress=False)
    model.log_prob(x), model.sample(64, rng)
    return time.perf_counter() - start

print(work(), work())
"""


def run(code: str, **environment: str) -> tuple[float, str]:
    """Run code in a fresh process; return its duration in seconds and its output."""
    start, command = time.perf_counter(), [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def rows(quick: bool, threads: int) -> Iterator[Row]:
    """Yield the medians of seven imports, then those of three first runs without and with a cache."""
    rounds = 1 if quick else 7
    times: dict[str, list[float]] = {"import numba": [], "import tinygen": []}
    for _ in range(rounds):
        for code, seconds in times.items():
            seconds.append(run(code)[0])
    numba, tinygen = map(statistics.median, times.values())
    values: dict[str, float | str] = {"import numba": numba, "import tinygen": tinygen, "ratio": tinygen / numba}
    yield Row("import, s", f"median of {rounds}", values)
    runs: dict[str, list[tuple[float, ...]]] = {"empty": [], "filled": []}
    for _ in range(min(rounds, 3)):
        with tempfile.TemporaryDirectory() as folder:
            for both in runs.values():
                output = run(WORK, NUMBA_CACHE_DIR=folder, TINYGEN_NUM_THREADS=str(threads))[1]
                both.append(tuple(map(float, output.split())))
    for cache, pairs in runs.items():
        first, second = map(statistics.median, zip(*pairs, strict=True))
        values = {"first run": first, "second run": second, "difference: kernels": first - second}
        yield Row("first run, s", f"Numba's cache is {cache}", values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    report("first_run", rows(args.quick, args.threads), args)
