"""Training steps on 1, 2, 4, … ranks of MPI, beside a model of their cost that predicts 64 ranks on a fast network.

    python -m benchmarks.distributed [--quick] [--save]

One rank runs per CPU, on one thread. On P ranks, a step on B examples with n bytes of gradients takes

    T(P) = c₀ + c₁ B/P            one rank computes the gradients of its examples and the update
         + 2 (P−1) α              the start of a message, in each of the two exchanges of `Ranks.add`
         + 2 (P−1)/P · n/β        the bytes that a rank sends
         + g₀ + n/γ               it packs the gradients and adds those of other ranks; only if P > 1

α, β, g₀ and γ are fitted to the time of `Ranks.add`, and of its two calls of MPI alone, for 4 kB to 16 MB; c₀ and c₁ to
steps of one rank on B, B/2 and B/4 examples. T(P) is then compared with measured steps. The prediction replaces α and β
by those of NETWORK. Needs `pip install -e ".[mpi]"`.

Source: Thakur, Rabenseifner & Gropp, "Optimization of collective communication operations in MPICH", 2005.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.record import Row, add_arguments, report
from tinygen import value_and_grad
from tinygen.distributed.ranks import ranks_of
from tinygen.kernels.runtime.allocator import keep_freed_memory
from tinygen.models import MADE, GatedPixelCNN, RealNVP
from tinygen.optim import Adam
from tinygen.training import sharded

RANKS = 64
SIZES = [16 * 1024**2 // 4**i for i in range(7)]  # bytes


class Exchange(NamedTuple):
    """The constants of the exchange in the model, in seconds and bytes per second."""

    alpha: float
    beta: float
    g0: float
    gamma: float

    def seconds(self, ranks: int, size: int) -> float:
        if ranks == 1:
            return 0.0
        return 2 * (ranks - 1) * (self.alpha + size / ranks / self.beta) + self.g0 + size / self.gamma


NETWORK = {"alpha": 2e-6, "beta": 12.5e9}  # assumed: 2 µs and 100 Gbit/s, as InfiniBand EDR has


def cases(rng: np.random.Generator) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, model, batch)."""

    def bits(n: int, side: int) -> Any:
        return (rng.random((n, side, side, 1)) < 0.3).astype(np.uint8)

    yield "Gated PixelCNN, 5 layers of 32, 8×8, batch 64", GatedPixelCNN((8, 8, 1), 2, rng, layers=5), bits(64, 8)
    yield "Gated PixelCNN, 8 layers of 32, 28×28, batch 32", GatedPixelCNN((28, 28, 1), 2, rng, layers=8), bits(32, 28)
    reals = rng.normal(size=(64, 8, 8, 1)).astype(np.float32)
    yield "RealNVP, 8×8, batch 64", RealNVP((8, 8, 1), rng, scales=2, hidden=32), reals
    yield "MADE, 784-512-784, batch 256", MADE((28, 28, 1), 2, rng, hidden=(512,)), bits(256, 28)


def seconds_per_call(call: Callable[[], object], comm: Any, seconds: float) -> float:
    """Return the median time of a call, which all ranks repeat equally often."""
    call()
    comm.Barrier()
    start = time.perf_counter()
    call()
    repeats = comm.bcast(min(1000, max(5, int(seconds / (time.perf_counter() - start)))))
    times = []
    for _ in range(repeats):
        comm.Barrier()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def step(model: Any, batch: Any, shards: int, comm: Any) -> Callable[[], object]:
    rng, optimizer = np.random.default_rng(0), Adam(model.parameters(), 1e-4)
    derivative = sharded(value_and_grad(model.loss, optimizer.parameters), shards, ranks_of(comm))
    return lambda: optimizer.step(derivative(batch, rng=rng)[1])


def measure(comm: Any, threads: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Return the results of these ranks: seconds by what was measured."""
    keep_freed_memory()  # as `fit` does
    steps: dict[str, Any] = {}
    for name, model, batch in list(cases(np.random.default_rng(0)))[: 1 if quick else None]:
        parts = (1, 2, 4) if comm.size == threads == 1 else (1,)
        times = {
            len(batch) // part: seconds_per_call(
                step(model, batch[: len(batch) // part], comm.size * threads, comm), comm, seconds
            )
            for part in parts
        }
        size = sum(parameter.value.nbytes for parameter in model.parameters())
        steps[name] = {"size": size, "batch": len(batch), "seconds": times}
    exchanges = {size: exchange(size, comm, seconds / 4) for size in SIZES} if comm.size > 1 else {}
    return {"steps": steps, "exchanges": exchanges}


def exchange(size: int, comm: Any, seconds: float) -> tuple[float, float]:
    """Return the seconds of `Ranks.add` for arrays of `size` bytes, and those of its two calls of MPI alone."""
    array, part = np.ones(size // 4, np.float32), np.ones((comm.size, size // 4 // comm.size), np.float32)
    received, ranks = np.empty_like(part), ranks_of(comm)

    def transfer() -> None:
        comm.Alltoall(part, received)
        comm.Allgather(part[0], received)

    return (
        seconds_per_call(lambda: ranks.add([[array]], comm.size), comm, seconds),
        seconds_per_call(transfer, comm, seconds),
    )


def launch(ranks: int, threads: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Run `measure` on this many ranks of `threads` threads."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = [mpiexec or "mpiexec", "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "benchmarks.distributed"]
    command += [f"--measure={seconds}", f"--threads={threads}", *["--quick"] * quick]
    environment = {**os.environ, "TINYGEN_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def fit(terms: Any, seconds: Any) -> list[float]:
    """Return the coefficients of the terms that give these seconds with the least squares of relative errors."""
    return np.linalg.lstsq(np.array(terms) / np.array(seconds)[:, None], np.ones(len(seconds)))[0].tolist()


def fit_exchange(measured: list[tuple[int, int, float, float]]) -> Exchange:
    """Fit the constants to (ranks, bytes, seconds of `Ranks.add`, seconds of MPI alone)."""
    terms, seconds = [], []
    for ranks, size, whole, alone in measured:
        sent = [2 * (ranks - 1), 2 * (ranks - 1) / ranks * size]
        terms += [[*sent, 1, size], [*sent, 0, 0]]
        seconds += [whole, alone]
    alpha, per_byte_sent, g0, per_byte = fit(terms, seconds)
    return Exchange(alpha, 1 / per_byte_sent, g0, 1 / per_byte)


def rows(threads: int, quick: bool) -> Iterator[Row]:
    counts, seconds = [2**i for i in range(threads.bit_length())], 0.05 if quick else 1.0
    results = {ranks: launch(ranks, 1, seconds, quick) for ranks in counts}
    in_threads = launch(1, counts[-1], seconds, quick)["steps"]
    measured = [(ranks, int(size), *times) for ranks in counts for size, times in results[ranks]["exchanges"].items()]
    here = fit_exchange(measured)
    fast = here._replace(**NETWORK)
    for name, (alpha, beta, g0, gamma) in {"here, measured": here, "fast, assumed": fast}.items():
        constants: dict[str, float | str] = {"α, µs": 1e6 * alpha, "β, GB/s": beta / 1e9}
        yield Row("constants of an exchange", name, {**constants, "g₀, µs": 1e6 * g0, "γ, GB/s": gamma / 1e9})
    for ranks, size, whole, _ in measured:
        times = {"measured": 1e3 * whole, "model": 1e3 * here.seconds(ranks, size)}
        yield Row("exchange, ms", f"{size / 1e6:.3g} MB, {ranks} ranks", times)
    predictions = []
    for name, found in results[1]["steps"].items():
        batch, size = found["batch"], found["size"]
        c0, c1 = fit([(1, int(n)) for n in found["seconds"]], list(found["seconds"].values()))
        values = {"gradients, MB": size / 1e6}
        for ranks in counts:
            values[f"{ranks} rank{'s' * (ranks > 1)}"] = 1e3 * results[ranks]["steps"][name]["seconds"][str(batch)]
            if ranks > 1:
                values[f"model of {ranks}"] = 1e3 * (c0 + c1 * batch / ranks + here.seconds(ranks, size))
        values["speed-up"] = values["1 rank"] / values[f"{counts[-1]} ranks"]
        values[f"1 rank, {counts[-1]} threads"] = 1e3 * in_threads[name]["seconds"][str(batch)]
        yield Row("steps on ranks, ms", name, {**values})
        predictions.append(prediction(name, c0, c1, batch, fast.seconds(RANKS, size)))
    yield from predictions


def prediction(name: str, c0: float, c1: float, batch: int, exchange: float) -> Row:
    """Predict a step on RANKS ranks of the fast network, for the same batch and for the same batch per rank.

    The former needs an example per rank.
    """
    one, many, large = c0 + c1 * batch, c0 + c1 * batch / RANKS + exchange, c0 + c1 * batch + exchange
    common = {"1 rank, ms": 1e3 * one, "exchange, ms": 1e3 * exchange}
    same = {"same batch, ms": 1e3 * many, "speed-up": one / many} if batch >= RANKS else {}
    scaled = {f"{RANKS} × batch, ms": 1e3 * large, "scaled speed-up": RANKS * one / large}
    return Row(f"prediction for {RANKS} ranks", name, {**common, **same, **scaled})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)  # seconds, in a rank
    args = parser.parse_args()
    if args.measure:
        from mpi4py import MPI

        found = measure(MPI.COMM_WORLD, args.threads, args.measure, args.quick)
        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(found))
    else:
        report("distributed", rows(args.threads, args.quick), args)
