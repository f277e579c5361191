"""The training loop. See `run.py` for the state of a run and `resume.py` for exact resume.

Checked by: tests/training/test_fit.py
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..arguments import explained
from ..autograd import Array
from ..checks import at_least, check_file, require
from ..distributed.ranks import ranks_of, warn_if_launched
from ..nn import Module
from ..optim import EMA, Optimizer
from .callbacks import Callback, CSVLog, SampleGrid, Watch
from .history import History
from .interrupt import deferred_interrupt
from .progress import Progress, progress_bar
from .resume import configuration, load_run, save_run
from .run import Loss, Run

File: TypeAlias = str | Path | None
Validate: TypeAlias = Callable[[], float] | None


@explained
def fit(
    loss: Loss | Sequence[Loss],
    module: Module,
    data: Array | Sequence[Array],
    *,
    optimizer: Optimizer | Sequence[Optimizer],
    batch_size: int,
    rng: np.random.Generator,
    epochs: int | None = None,
    steps: int | None = None,
    validate: Callable[[], float] | None = None,
    every: int | None = None,
    unit: str = "nats",
    ema: EMA | None = None,
    clip: float | None = None,
    shards: int | None = None,
    turns: Sequence[int] | None = None,
    checkpoint: str | Path | None = None,
    history: str | Path | None = None,
    on_record: Callback | Sequence[Callback] = (),
    resume: bool = True,
    progress: bool = True,
    comm: Any = None,
) -> History:
    """Minimise a loss over minibatches of the data, for `epochs` epochs or `steps` steps.

        for each epoch: shuffle; for each batch: optimizer.step(∂ loss(*batch, rng=rng) / ∂ parameters)

    **The module ends with the parameters of the best validation result**; without `validate`, with the averages of
    `ema` if there is one, otherwise with the last parameters. If there is an `ema`, `validate` sees its averages.

    Args:
        loss: maps a minibatch of each array to a scalar, the mean over the batch. For several players, such as a
            critic and a generator, pass a list of losses and a list of optimisers; only the first loss is recorded.
        data: one array (N, …) or several of equal length. The last batch of an epoch may be smaller.
        validate: returns a number that should decrease. Called at every record, without gradient recording.
        every: steps between records of the mean training loss and the validation result; one epoch by default.
        unit: unit of the loss, for the progress bar and the history.
        clip: maximum global norm of the gradients.
        shards: number of parts of each batch that are differentiated in parallel. Correct only if the loss is a mean of
            one term per example: a sum over the batch or batch statistics silently give a wrong gradient. None chooses
            by the tensor sizes if the loss is that of a tinygen model, else 1; the progress bar shows the number.
        turns: order in which the players take steps, repeated: with [0, 0, 1], player 0 takes two steps for each
            step of player 1. By default the players alternate.
        checkpoint: file written at every record. If it exists, training resumes from it, and the results are
            bitwise those of an uninterrupted run, with any number of threads. The data, the seed and the other settings
            must be the same, but `epochs` or `steps` may increase (`cosine` over more steps is a different schedule).
            The settings of a loss are compared too, such as beta in `partial(vae.loss, beta=beta)` or in
            `lambda x, rng: vae.loss(x, rng=rng, beta=beta)`, but not numbers in its code, such as `beta=0.5` there.
        history: separate file of records, one line of JSON each.
        on_record: functions that are called with an `Event` at every record, after saving: the losses, the validation
            result, learning rates, the norm of the gradients, speed, and the module. If one returns True, the run ends.
            See `EarlyStopping`, `CSVLog`, `TensorBoard` and `SampleGrid`.
        resume: if False, start from the beginning and overwrite the checkpoint.
        progress: show a progress bar on stderr; where that is not a terminal, or without tqdm, one line per record.
        comm: communicator of mpi4py, such as MPI.COMM_WORLD. Each rank differentiates its shards of every batch, by
            default one, with the condition on the loss above. The parameters are bitwise those of the same number of
            shards in one process, on CPUs of the same model. All ranks must create the same model, data and rng, and
            return the same history. Only rank 0 validates, calls `on_record`, shows progress, and reads and writes
            files. Start the ranks with `mpiexec -n 4 python -m mpi4py train.py`, so that an exception in one of them
            ends all. See docs/distributed.md.

    On Ctrl-C, `fit` completes the step, writes the checkpoint and raises Interrupted, a KeyboardInterrupt with which a
    program ends in one line. The module then has the parameters of that step; load_checkpoint restores the best so far.
    On Linux, memory that a step frees is kept for the next one, in the whole process; TINYGEN_KEEP_MEMORY=0 disables
    this.

    Raises: ValueError if an argument is invalid; CheckpointError if the checkpoint is damaged, has a different
    configuration or more steps than requested; NonFiniteError if a loss or gradient is NaN or infinite (no parameter is
    updated with it), if a parameter has become NaN or infinite when a record is made, or at the end if no validation
    result was finite (the module keeps the last parameters).

    Example:
        >>> from tinygen.nn import Linear
        >>> from tinygen.optim import Adam
        >>> rng = np.random.default_rng(0)
        >>> layer = Linear(2, 1, rng)
        >>> loss = lambda x, rng: ((layer(x) - x[:, :1]) * (layer(x) - x[:, :1])).mean()
        >>> adam = Adam(layer.parameters(), 0.05)
        >>> history = fit(loss, layer, rng.normal(size=(50, 2)), optimizer=adam, batch_size=10, rng=rng, epochs=100)
        >>> history.records[-1].loss < 1e-4
        True
    """
    arrays = [np.asarray(array) for array in _as_list(data)]
    losses, optimizers, callbacks = (_as_list(given) for given in (loss, optimizer, on_record))
    turns = list(range(len(losses)) if turns is None else turns)
    _check(epochs, steps, validate, comm, every=every, batch_size=batch_size)
    ranks = ranks_of(comm)
    run = Run(losses, optimizers, turns, module, arrays, rng, int(batch_size), ema, clip, shards, unit, ranks)
    total, every = steps or run.steps_per_epoch * (epochs or 0), every or run.steps_per_epoch
    start = _start(run, checkpoint, history, callbacks, resume, total, every)
    message, watch = partial(_interrupted, run, total, checkpoint), Watch(run, callbacks)
    with (
        ranks.own_cpus(),
        deferred_interrupt(message, ranks) as interrupted,
        progress_bar(total, run.step, progress and ranks.rank == 0, start) as show,
    ):
        if not watch():  # true for a resumed run that a callback has stopped
            for _ in _records(run, total, every, validate, show, interrupted):
                _save(run, checkpoint, history)
                if watch():
                    break
        if interrupted():  # Interrupted follows at the end of the block; the best parameters are not restored
            _save(run, None if run.is_recorded() else checkpoint, None)  # callbacks may have used rng since the record
        else:
            _end(run, total, validate, checkpoint, show, watch)
    _save(run, None, history)
    module.load(run.result())
    return run.history


def _as_list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, tuple | list) else [given]


def _records(
    run: Run, total: int, every: int, validate: Validate, show: Progress, interrupted: Callable[[], bool]
) -> Iterator[None]:
    """Take all steps, and yield after each record."""
    while run.step < total and not interrupted():
        run.advance()
        shards = f", {run.shards} shards" if run.shards != 1 else ""
        show(run.step, f"{run.mean_loss:.4g} {run.unit}{shards}")
        if run.step % every == 0:
            run.record(validate)
            show.record(run.history.latest(total))
            yield


def _end(run: Run, total: int, validate: Validate, checkpoint: File, show: Progress, watch: Watch) -> None:
    """Make the last record, and say which one is the best."""
    if run.record_end(validate):
        show.record(run.history.latest(total))
        _save(run, checkpoint, None)
        watch()
    if best := run.best_record():
        show.message(f"restored the best, {best.valid:.4g} {run.unit} at step {best.step}")


def _start(
    run: Run, checkpoint: File, history: File, callbacks: list[Callback], resume: bool, total: int, every: int
) -> str:
    """Resume the run if there is a checkpoint, else save the initial state. Return a message if it was resumed."""

    def existing() -> File:
        given = {"checkpoint": checkpoint, "history": history}
        files = {name: path for name, path in given.items() if path is not None}
        for name, path in files.items():
            check_file(name, path)
        paths = [*files.values(), *(each.path for each in callbacks if isinstance(each, CSVLog | SampleGrid))]
        different = len({Path(path).resolve() for path in paths}) == len(paths)
        require(different, "checkpoint, history, on_record", "different files", ", ".join(map(str, paths)))
        return checkpoint if checkpoint is not None and resume and Path(checkpoint).exists() else None

    path = run.ranks.call_on_root(existing)
    run.ranks.check_equal(
        lambda: {"steps": total, "every": every, **configuration(run), **run.fingerprints()}, "at the start"
    )
    if path is None:
        _save(run, checkpoint, None)  # for a run that fails before its first record
        return ""
    load_run(run, path, total, every)
    return f"resumed at step {run.step} of {total} from {path}"


def _interrupted(run: Run, total: int, checkpoint: File) -> str:
    saved = "not saved" if checkpoint is None else f"saved to {checkpoint}; run the same command to go on"
    return f"interrupted at step {run.step} of {total}, {saved}"


def _save(run: Run, checkpoint: File, history: File) -> None:
    def save() -> None:
        if checkpoint is not None:
            save_run(run, checkpoint)
        if history is not None:
            run.history.save(history)

    run.ranks.call_on_root(save)


def _check(epochs: int | None, steps: int | None, validate: Validate, comm: Any, **counts: int | None) -> None:
    if comm is None:
        warn_if_launched()
    require((epochs is None) != (steps is None), "epochs, steps", "exactly one of the two", f"{epochs}, {steps}")
    at_least(1, **{name: n for name, n in {"epochs": epochs, "steps": steps, **counts}.items() if n is not None})
    require(validate is None or callable(validate), "validate", "a function that returns a number", repr(validate))
