"""The effect of TINYGEN_KEEP_MEMORY on the forward and backward pass of a Gated PixelCNN.

The setting applies to the whole process, so each measurement runs in a new process; the two settings alternate.

    python -m benchmarks.allocator [--quick] [--save]
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.record import Row, add_arguments, report

STEP = """
import statistics, time
import numpy as np
from tinygen import value_and_grad
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.models import GatedPixelCNN

keep_freed_memory()
rng = np.random.default_rng(0)
model = GatedPixelCNN((28, 28, 1), 2, rng, channels=32, layers=8)
derivative = value_and_grad(model.loss, model.parameters())
images = rng.integers(0, 2, (64, 28, 28, 1))
times = []
for _ in range(8):
    start = time.perf_counter()
    derivative(images)
    times.append(time.perf_counter() - start)
print(statistics.median(times[2:]))
"""


def milliseconds(mebibytes: int, threads: int) -> float:
    """Return the median time of a forward and backward pass when up to this much freed memory is kept."""
    environment = {**os.environ, "TINYGEN_KEEP_MEMORY": str(mebibytes), "TINYGEN_NUM_THREADS": str(threads)}
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, env=environment, check=True)
    return 1e3 * float(run.stdout)


def rows(quick: bool, threads: int) -> Iterator[Row]:
    """Yield the medians of three pairs of processes."""
    pairs = [(milliseconds(1024, threads), milliseconds(0, threads)) for _ in range(1 if quick else 3)]
    kept, returned = (statistics.median(column) for column in zip(*pairs, strict=True))
    values: dict[str, float | str] = {"freed memory kept": kept, "returned to the system": returned}
    ratio = statistics.median(a / b for a, b in pairs)
    yield Row("forward and backward, ms", "Gated PixelCNN, 8 layers, 28×28", {**values, "ratio": ratio})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    report("allocator", rows(args.quick, args.threads), args)
