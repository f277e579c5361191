"""What keeping freed memory is worth: a Gated PixelCNN's training step with and without, in turns.

    python -m benchmarks.allocator

The C library can be told only once, so each measurement is a process of its own (see TINYGEN_KEEP_MEMORY).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

STEP = """
import statistics, time
import numpy as np
from tinygen import value_and_grad
from tinygen.models import GatedPixelCNN

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


def seconds(keep: str) -> float:
    environment = {**os.environ, "TINYGEN_KEEP_MEMORY": keep}
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, env=environment, check=True)
    return float(run.stdout)


if __name__ == "__main__":
    pairs = [(seconds("1024"), seconds("0")) for _ in range(5)]
    kept, returned = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"forward and backward, ms: {1e3 * kept:.0f} keeping freed memory, {1e3 * returned:.0f} not; ratio {ratio:.2f}"
    )
