"""Run trainings one after another, several at the same time (--jobs), or each on several ranks of MPI (--mpi)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from common.storage import Results
from common.training import Training

Train = Callable[[Training], Results]


def completed(train: Train, trainings: Sequence[Training], jobs: int) -> Iterator[tuple[Training, Results]]:
    """Yield each training and its results when it ends. If `jobs` > 1, that many run at the same time, in processes."""
    if jobs == 1:
        yield from (timed(train, training) for training in trainings)
    else:
        from joblib import Parallel, delayed  # divides the CPUs among its processes

        tasks = (delayed(timed)(train, training) for training in trainings)
        yield from Parallel(jobs, return_as="generator_unordered")(tasks)


def timed(train: Train, training: Training) -> tuple[Training, Results]:
    """Return a training and its results, with the seconds that it took."""
    resumed = " resumes from its checkpoint" * (len(training.checkpoints()) > 0)
    print(f"{training.setting}, seed {training.seed}{resumed} …", flush=True)
    cpu, wall = time.process_time(), time.perf_counter()
    results = train(training)
    return training, {**results, "cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}


def share_trainings(train: Train, trainings: Sequence[Training], comm: Any) -> None:
    """Broadcast the trainings from rank 0 to the other ranks, which run them too. Only rank 0 stores and shows results.

    The other ranks return when all trainings have ended, or at Ctrl-C, which reaches every rank.
    """
    trainings = comm.bcast(trainings)
    try:
        for training in trainings if comm.rank > 0 else ():
            train(training)
    except KeyboardInterrupt:
        return  # rank 0 exits with a message
