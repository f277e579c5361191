"""The training loop: minibatches, validation, the best parameters, and a checkpoint to go on from exactly.

Checked by: tests/training/test_fit.py, tests/training/test_resume.py
"""

from __future__ import annotations

import inspect
import json
import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..autograd import Array, Tensor, no_grad, value_and_grad
from ..checks import at_least, check_rng
from ..nn import Module
from ..optim import EMA, NonFiniteGradientError, Optimizer, clip_by_global_norm
from .checkpoint import CheckpointError, read_checkpoint, to_json, write_checkpoint
from .history import History, Record
from .interrupt import deferred_interrupt
from .progress import progress_bar
from .shards import sharded

Loss: TypeAlias = Callable[..., Tensor]


class NonFiniteError(FloatingPointError):
    """A loss or a gradient became NaN or infinite; the message says at which step, and in which parameter, if any."""


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
    shards: int = 1,
    turns: Sequence[int] | None = None,
    checkpoint: str | Path | None = None,
    history: str | Path | None = None,
    resume: bool = True,
    progress: bool = True,
) -> History:
    """Minimise a loss over minibatches of the data, for so many epochs or so many steps.

        for each epoch: shuffle; for each batch: optimizer.step(∂ loss(*batch, rng=rng) / ∂ parameters)

    `loss` is given one minibatch of each array and returns a scalar: a mean over the batch, in `unit`. Every so many
    steps (`every`, by default once per epoch) the mean of the training loss is recorded, `validate()` is asked for a
    number that should fall, and `history` (lines of JSON) and `checkpoint` are written. With `shards`, so many parts of
    each batch are differentiated side by side, which is faster (see `sharded`), but right only if the loss is a mean of
    one term per example: a sum over the batch, or anything computed from several examples together, such as batch
    statistics, silently becomes another loss. Gradients are clipped to the common norm `clip`.

    A game has several players, each with a loss and an optimiser of its own: pass lists of both. At each step one of
    them moves, as `turns` says over and over: [0, 0, 0, 0, 0, 1] gives a critic five steps for each of the generator;
    by default they take turns. The loss that is shown and recorded is that of the first player.

    **The module ends with the parameters that validated best**; without `validate`, with the averages of `ema` if there
    is one, else with the last. With an `ema`, it is the averages that are validated and kept.

    If the checkpoint exists, training goes on from it, with the same bits as if it had never stopped: parameters,
    optimiser, averages, generator, history and the place in the epoch. Data, seed, batch size, optimiser, learning
    rate or schedule, clip, shards and decay must be those of the checkpoint. More epochs may be asked for where the
    schedule stays the same: `cosine` over more steps is another one, and refused. `resume=False` starts anew and
    replaces the checkpoint. Ctrl-C finishes the step, writes the checkpoint, then raises KeyboardInterrupt; the module
    then holds the parameters of that last step, and `load_checkpoint` gets the best so far from the checkpoint.

    Shapes: data (N, …) or several of these, of one length; the last batch of an epoch may be smaller than batch_size.
    Raises ValueError, naming the argument; CheckpointError if the checkpoint is damaged or of another configuration;
    NonFiniteError if a loss or gradient is NaN or infinite, before it touches a parameter; or at the end, the module
    with the last parameters, if no number from `validate` was finite: none of them was the best.
    """
    arrays = [np.asarray(array) for array in (data if isinstance(data, tuple | list) else [data])]
    losses: list[Loss] = list(loss) if isinstance(loss, tuple | list) else [loss]  # type: ignore[list-item]
    optimizers = list(optimizer) if isinstance(optimizer, Sequence) else [optimizer]
    turns = list(range(len(losses))) if turns is None else list(turns)
    _check_lengths(epochs, steps, every=every, batch_size=batch_size)
    if validate is not None and not callable(validate):
        raise ValueError(f"validate: expected a function that returns a number, got {validate!r}")
    for name, path in {"checkpoint": checkpoint, "history": history}.items():
        if path is not None and not Path(path).parent.is_dir():  # said now, and not after hours
            raise ValueError(f"{name}: expected a file in a folder that exists, got {path}")
    run = _Run(losses, optimizers, turns, module, arrays, rng, int(batch_size), ema, clip, shards, unit)
    total = steps if steps is not None else run.per_epoch * (epochs or 0)
    every = every or run.per_epoch
    if checkpoint is not None:
        if resume and Path(checkpoint).exists():
            run.load(checkpoint)
            if run.step > total:
                raise ValueError(f"epochs, steps: {checkpoint} has {run.step} steps behind it, asked for are {total}")
        else:
            run.save(checkpoint)  # also what a run that breaks off before its first record starts again from
    with deferred_interrupt() as interrupted, progress_bar(total, run.step, progress) as show:
        while run.step < total and not interrupted():
            run.advance()
            show(run.step, f"{run.mean_loss:.4g} {unit}")
            if run.step % every == 0 or run.step == total:
                run.record(validate)
                if checkpoint is not None:
                    run.save(checkpoint)
                if history is not None:
                    run.history.save(history)
        if interrupted() and checkpoint is not None:
            run.save(checkpoint)
        # Not after an interrupt: KeyboardInterrupt leaves the block below, and nothing is restored.
        if not interrupted() and (best := run.validated_best()):
            show(run.step, f"{best.valid:.4g} {unit} at step {best.step}, the best, is restored")
    if history is not None:
        run.history.save(history)
    module.load(run.result())
    return run.history


@dataclass(eq=False, repr=False)
class _Run:
    """What a run is given, all that changes while training, and how that gets into a checkpoint and back."""

    losses: list[Loss]
    optimizers: list[Optimizer]
    turns: list[int]
    module: Module
    arrays: list[Array]
    rng: np.random.Generator
    batch_size: int
    ema: EMA | None
    clip: float | None
    shards: int
    unit: str

    def __post_init__(self) -> None:
        self._check()
        self.derivatives = [
            sharded(value_and_grad(loss, inputs=optimizer.parameters), self.shards)
            for loss, optimizer in zip(self.losses, self.optimizers, strict=True)
        ]
        self.per_epoch = -(-len(self.arrays[0]) // self.batch_size)
        self.step = 0
        self.order = np.arange(len(self.arrays[0]))
        self.loss_sum, self.examples = 0.0, 0  # since the last record
        self.history = History(self.unit)
        self.best: dict[str, Array] | None = None

    def _check(self) -> None:
        shapes = [array.shape for array in self.arrays]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) != 1 or shapes[0][0] == 0:
            hint = "; of a data set pass the arrays, such as images.pixels" if () in shapes else ""
            raise ValueError(f"data: expected arrays of one length, at least 1, got shapes {shapes}{hint}")
        players = len(self.losses)
        if len(self.optimizers) != players:
            raise ValueError(f"optimizer: expected one for each of {players} losses, got {len(self.optimizers)}")
        if set(self.turns) != set(range(players)):
            raise ValueError(f"turns: expected each of the players 0…{players - 1} to move, got {self.turns}")
        for loss in self.losses:
            _check_loss(loss, self.arrays, self.rng)
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip: expected a positive number or None, got {self.clip}")
        check_rng(self.rng)
        own = {id(parameter) for parameter in self.module.parameters()}
        owners = [("ema", self.ema), *(("optimizer", optimizer) for optimizer in self.optimizers)]
        for name, owner in owners:
            if owner is not None and any(id(parameter) not in own for parameter in owner.parameters):
                raise ValueError(f"{name}: expected parameters of the module, got others; pass it module.parameters()")

    def advance(self) -> None:
        """Take one step."""
        start = self.step % self.per_epoch * self.batch_size
        if start == 0:
            self.order = self.rng.permutation(len(self.order))
        rows = self.order[start : start + self.batch_size]
        player = self.turns[self.step % len(self.turns)]
        optimizer = self.optimizers[player]
        value, gradients = self.derivatives[player](*(array[rows] for array in self.arrays), rng=self.rng)
        if not math.isfinite(value.item()):
            raise self._not_finite(optimizer, value, gradients)
        try:
            if self.clip is not None:
                gradients, _ = clip_by_global_norm(gradients, self.clip)
            optimizer.step(gradients)
        except NonFiniteGradientError as error:
            raise self._not_finite(optimizer, value, gradients, str(error)) from error
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        if player == 0:
            self.loss_sum += value.item() * len(rows)
            self.examples += len(rows)

    @property
    def mean_loss(self) -> float:
        """Mean loss per example since the last record; NaN if the first player has not moved."""
        return self.loss_sum / self.examples if self.examples else math.nan

    def _not_finite(
        self,
        optimizer: Optimizer,
        value: Tensor,
        gradients: Sequence[Tensor],
        otherwise: str = "every parameter and gradient is finite, the loss alone is not",
    ) -> NonFiniteError:
        """Say where a NaN or inf is: in a parameter, which spoils the rest, else in a gradient, else in the loss."""
        named = self.module.named_parameters()
        names = {id(p): name for name, p in named.items()}
        suspects = [(f"parameter {name}", p.value) for name, p in named.items()]
        for p, g in zip(optimizer.parameters, gradients, strict=True):
            suspects.append((f"the gradient of {names[id(p)]}", g.value.astype(p.dtype)))
        bad = ((what, array.size, np.count_nonzero(~np.isfinite(array))) for what, array in suspects)
        said = (f"{count} of {size} entries of {what} are NaN or infinite" for what, size, count in bad if count)
        culprit = next(said, otherwise)
        epoch = self.step // self.per_epoch
        return NonFiniteError(f"step {self.step} (epoch {epoch}): the loss is {value.item()}; {culprit}")

    def record(self, validate: Callable[[], float] | None) -> None:
        """Note the mean loss since the last record; validate, and keep the parameters if they are the best so far."""
        loss, valid = self.mean_loss, None
        self.loss_sum, self.examples = 0.0, 0
        with no_grad(), self.ema.averaged() if self.ema else nullcontext():
            if validate is not None:
                valid = float(validate())
            self.history.records.append(Record(self.step, self.step / self.per_epoch, loss, valid))
            if self.history.best is self.history.records[-1]:
                self.best = self.module.state()

    def validated_best(self) -> Record | None:
        """Return the best record, if any was validated. Raises NonFiniteError if none was to a finite number."""
        numbers = [record.valid for record in self.history.records if record.valid is not None]
        if numbers and not any(map(math.isfinite, numbers)):
            raise NonFiniteError(
                f"validate: expected a finite number at some record, got {numbers[-1]} at the last of {len(numbers)}"
            )
        return self.history.best

    def result(self) -> dict[str, Array]:
        """Return the module's state as it is to be used: validated best, else averaged, else as it is."""
        if self.best is not None:
            return self.best
        with self.ema.averaged() if self.ema else nullcontext():
            return self.module.state()

    def save(self, path: str | Path) -> None:
        groups = {"module": self.module.state(), "run": {"order": self.order}}
        groups |= {f"optimizer{player}": optimizer.state() for player, optimizer in enumerate(self.optimizers)}
        if self.ema is not None:
            groups["ema"] = self.ema.state()
        if self.best is not None or self.ema is not None:
            groups["best"] = self.result()
        header = {
            "configuration": self._configuration(),
            "step": self.step,
            "loss_sum": self.loss_sum,
            "examples": self.examples,
            "rng": self.rng.bit_generator.state,
            "records": [asdict(record) for record in self.history.records],
        }
        write_checkpoint(path, groups, header)

    def load(self, path: str | Path) -> None:
        groups, header = read_checkpoint(path)
        if "configuration" not in header:
            raise CheckpointError(f"{path}: a module alone, not a training run; use load_checkpoint for it")
        here, there = json.loads(to_json(self._configuration())), header["configuration"]
        differing = [key for key in here if here[key] != there.get(key)]
        if differing:
            said = "; ".join(f"{key} is {here[key]} here, {there.get(key)} there" for key in differing)
            raise CheckpointError(
                f"{path}: of another configuration; {said}. Use another path, or resume=False to replace it"
            )
        try:
            self.module.load(groups["module"])
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        for player, optimizer in enumerate(self.optimizers):
            optimizer.load(groups[f"optimizer{player}"])
        if self.ema is not None:
            self.ema.load(groups["ema"])
        self.order = groups["run"]["order"]
        self.step, self.loss_sum, self.examples = header["step"], header["loss_sum"], header["examples"]
        self.rng.bit_generator.state = header["rng"]
        self.history.records = [Record(**record) for record in header["records"]]
        self.best = groups["best"] if self.history.best else None  # else it holds averages, which go on changing

    def _configuration(self) -> dict[str, Any]:
        """What must be the same for a run to go on; not its length, and not how often it is recorded."""
        names = {id(p): name for name, p in self.module.named_parameters().items()}
        seed = getattr(self.rng.bit_generator, "seed_seq", None)
        return {
            "module": type(self.module).__name__,
            "parameters": {name: f"{p.dtype} {p.shape}" for name, p in self.module.named_parameters().items()},
            "trained": [[names[id(p)] for p in optimizer.parameters] for optimizer in self.optimizers],
            "optimizer": [repr(optimizer) for optimizer in self.optimizers],
            # A schedule is a function; its values at a few steps tell it from another.
            "lr": [[float(o.lr(step)) for step in (0, 1, 10, 100, 1_000, 10_000, 100_000)] for o in self.optimizers],
            "turns": self.turns,
            "batch_size": self.batch_size,
            "clip": self.clip,
            "shards": self.shards,
            "ema_decay": self.ema.decay if self.ema else None,
            "generator": type(self.rng.bit_generator).__name__,
            "seed": [getattr(seed, "entropy", None), getattr(seed, "spawn_key", None)],
            "data": [f"{a.dtype} {a.shape} crc32 {zlib.crc32(np.ascontiguousarray(a).data):08x}" for a in self.arrays],
        }


def _check_lengths(epochs: int | None, steps: int | None, **others: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise ValueError(f"epochs, steps: expected one of the two, got {epochs}, {steps}")
    at_least(1, **{name: n for name, n in {"epochs": epochs, "steps": steps, **others}.items() if n is not None})


def _check_loss(loss: Loss, arrays: list[Array], rng: np.random.Generator) -> None:
    if not callable(loss):
        raise ValueError(f"loss: expected a function, or one for each player, got {loss!r}")
    try:
        signature = inspect.signature(loss)
    except ValueError:  # some functions written in C have none to be looked at
        return
    try:
        signature.bind(*arrays, rng=rng)
    except TypeError as error:
        raise ValueError(
            f"loss: fit calls loss(*batch, rng=rng), here with {len(arrays)} arrays in a batch; {error}"
        ) from error
