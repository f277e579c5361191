"""Trainings of five kinds of models in one process or on several ranks; as a program, on those of MPI.

mpiexec -n 3 python -m mpi4py mpi_runs.py FOLDER            train every model, write the results to FOLDER
mpiexec -n 2 python -m mpi4py mpi_runs.py FOLDER fail       raise an error in one rank
mpiexec -n 2 python -m mpi4py mpi_runs.py FOLDER wait       train slowly, until Ctrl-C
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygen import distributed, nn
from tinygen.autograd import Array
from tinygen.distributions import Bernoulli
from tinygen.models import GAN, MADE, VAE, GatedPixelCNN, RealNVP
from tinygen.nn.module import State
from tinygen.optim import EMA, Adam
from tinygen.training import Event, History, fit

Rng = np.random.Generator
MODELS = ("MADE", "GatedPixelCNN", "RealNVP", "VAE", "GAN")
STEPS, EXAMPLES, BATCH = 7, 18, 8  # three steps per epoch, the last one on two examples: fewer than some ranks


class Result(NamedTuple):
    state: State
    history: History
    rng: float  # the next number of the generator


def make(name: str, rng: Rng) -> tuple[Any, Any, Array]:
    """Return a model, its loss or losses, and data."""
    bits = rng.integers(0, 2, (EXAMPLES, 4, 4, 1))
    reals = rng.normal(size=(EXAMPLES, 4, 4, 1))
    if name == "MADE":
        made = MADE((4, 4, 1), 2, rng, hidden=(16,), orders=2)
        return made, made.loss, bits
    if name == "GatedPixelCNN":
        pixelcnn = GatedPixelCNN((4, 4, 1), 2, rng, channels=4, layers=2, dropout=0.3)
        return pixelcnn, pixelcnn.loss, bits
    if name == "RealNVP":
        flow = RealNVP((4, 4, 1), rng, layers=2, scales=1, hidden=4)
        return flow, flow.loss, reals
    if name == "VAE":
        encoder, decoder = nn.MLP(16, (8,), 4, rng), nn.MLP(2, (8,), 16, rng)
        vae = VAE((16,), 2, encoder, nn.Sequential(decoder, lambda x: x.reshape(-1, 16, 1)), Bernoulli())
        return vae, vae.loss, bits.reshape(EXAMPLES, 16)
    generator, critic = nn.MLP(2, (8,), 16, rng), nn.MLP(16, (8,), 1, rng)
    gan = GAN((16,), 2, generator, critic, "wasserstein")
    return gan, [gan.critic_loss, gan.generator_loss], reals.reshape(EXAMPLES, 16)


def train(name: str, steps: int = STEPS, **options: Any) -> Result:
    """Train a model. The validation result is best in the middle, and draws from the generator of the training."""
    rng = np.random.default_rng(0)
    model, loss, data = make(name, rng)
    parts = [model.parameters()] if name != "GAN" else [model.critic.parameters(), model.generator.parameters()]
    optimizers = [Adam(parameters, 0.01) for parameters in parts]
    settings: dict[str, Any] = {
        "batch_size": BATCH,
        "steps": steps,
        "validate": lambda: abs(optimizers[0].steps - 4) + 0.1 * rng.random(),
        "every": 2,
        "ema": EMA(model.parameters(), 0.7),
        "clip": 1.0,
        "turns": [0, 0, 1] if name == "GAN" else None,
        "progress": False,
    }
    history = fit(loss, model, data, optimizer=optimizers, rng=rng, **{**settings, **options})
    return Result(model.state(), history, rng.random())


def evaluate(comm: Any = None) -> dict[str, Array]:
    """Return samples and mean log-likelihoods, which do not depend on the number of ranks."""
    rng = np.random.default_rng(1)
    made, _, bits = make("MADE", rng)
    vae, _, flat = make("VAE", rng)
    options: dict[str, Any] = {"comm": comm, "batch_size": 4}
    return {
        "samples": distributed.sample(made, 18, rng, **options),
        "log_prob": np.array(distributed.mean_log_prob(made, bits, **options)),
        "estimate": np.array(distributed.mean_log_prob(vae, flat, k=3, rng=rng, **options)),
    }


def main(comm: Any, alone: Any, folder: Path, task: str = "") -> None:
    if task == "fail":
        fail(comm)
    elif task == "wait":
        train("MADE", 1000, on_record=show_slowly, comm=comm, checkpoint=folder / "wait.npz", progress=True)
    else:
        for name in MODELS:
            check_training(name, comm, folder)
        save(folder, "evaluation", comm, evaluate(comm))
        check_early_stopping(comm)
        check_warning(comm, alone)


def show_slowly(event: Event) -> None:
    print(event.record.step, flush=True)
    time.sleep(0.1)


def check_training(name: str, comm: Any, folder: Path) -> None:
    """Train in two runs, the second of which resumes. Only rank 0 knows the checkpoint, and only it validates."""
    checkpoint = folder / f"{name}.npz" if comm.rank == 0 else None
    train(name, 4, comm=comm, checkpoint=checkpoint)
    result = train(name, comm=comm, checkpoint=checkpoint)
    histories = comm.allgather(result.history)
    assert all(history == histories[0] for history in histories)
    save(folder, name, comm, {**result.state, "rng": np.asarray(result.rng)})


def save(folder: Path, name: str, comm: Any, arrays: dict[str, Any]) -> None:
    np.savez(folder / f"{name}.rank{comm.rank}.npz", **arrays)


def check_early_stopping(comm: Any) -> None:
    """Only the callback of rank 0 is called, and its decision stops every rank."""
    history = train("MADE", on_record=lambda event: comm.rank == 0 and event.record.step == 4, comm=comm).history
    assert [record.step for record in history.records] == [2, 4]


def check_warning(comm: Any, alone: Any) -> None:
    """Ranks that train alone without saying so give a warning, on rank 0."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train("MADE", 1, comm=alone)
        assert not caught
        train("MADE", 1)
    assert [f"{comm.size} processes were started" in str(each.message) for each in caught] == [True] * (comm.rank == 0)


def fail(comm: Any) -> None:
    """Rank 1 raises an error in its third evaluation of the loss; the others wait for its gradient."""
    made, loss, data = make("MADE", np.random.default_rng(0))
    calls = iter(range(1000))

    def failing(x: Array, *, rng: Rng) -> Any:
        if comm.rank == 1 and next(calls) == 2:
            raise ArithmeticError("the error of rank 1")
        return loss(x, rng=rng)

    fit(
        failing, made, data, optimizer=Adam(made.parameters()), batch_size=8, rng=np.random.default_rng(0), steps=100,
        comm=comm,
    )  # fmt: skip


if __name__ == "__main__":
    from mpi4py import MPI

    main(MPI.COMM_WORLD, MPI.COMM_SELF, Path(sys.argv[1]), *sys.argv[2:])
