"""What a first run costs: the import, and the kernels of the main example, compiled or found in Numba's cache.

Each figure is of fresh processes. The work is what `examples/pixelcnn.py` does with its network, once: a training step,
a likelihood and samples. The first time it is done, all that it needs is compiled, or loaded; the second time it is
only done.

    python -m benchmarks.first_run [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

_WORK = """
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
    """Seconds that a fresh process takes for some code, and what it prints."""
    start, command = time.perf_counter(), [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one process of each kind, too few to believe")
    rounds = 1 if parser.parse_args().quick else 7
    times: dict[str, list[float]] = {"import numba": [], "import tinygen": []}
    for _ in range(rounds):
        for code, seconds in times.items():
            seconds.append(run(code)[0])
    numba, tinygen = map(statistics.median, times.values())
    print(f"import numba {numba:.2f} s, import tinygen {tinygen:.2f} s: {tinygen / numba:.2f} ×\n")
    print("| Numba's cache | first time, s | again, s | kernels, s |\n|---|---|---|---|")
    for _ in range(min(rounds, 3)):
        with tempfile.TemporaryDirectory() as folder:
            for name in "empty", "filled":
                first, again = map(float, run(_WORK, NUMBA_CACHE_DIR=folder)[1].split())
                print(f"| {name} | {first:.2f} | {again:.2f} | {first - again:.2f} |", flush=True)


if __name__ == "__main__":
    main()
