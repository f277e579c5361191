"""The state of a training run: training steps, validation, and the choice of the final parameters.

Checked by: tests/training/test_fit.py, tests/training/test_players.py
"""

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..autograd import Array, Tensor, no_grad, value_and_grad
from ..checks import as_returned_number, check_rng, require
from ..distributed.ranks import Ranks
from ..kernels.runtime.allocator import keep_freed_memory
from ..nn import Module
from ..nn.module import State
from ..optim import EMA, NonFiniteGradientError, Optimizer, StepOverflowError, clip_by_global_norm
from ..recorded import fingerprint, generator_fingerprint
from .history import History, Record
from .loss_settings import loss_settings
from .shards import Derivative, choose_shards, is_mean_over_examples, sharded

Loss: TypeAlias = Callable[..., Tensor]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Position:
    """What a run continues from, apart from its step and the order of the examples."""

    loss_sums: list[float]  # of each player since the last record, as `examples`
    examples: list[int]
    gradient_norm: float | None  # of the last step
    rng: dict[str, Any]
    records: list[Record]
    best: State | None


class NonFiniteError(FloatingPointError):
    """The loss, a gradient, or every validation result of a training run is NaN or infinite."""


@dataclass(eq=False, repr=False)
class Run:
    """The arguments of `fit` and everything that changes during training. Each player has a loss and an optimiser."""

    losses: list[Loss]
    optimizers: list[Optimizer]
    turns: list[int]
    module: Module
    arrays: list[Array]
    rng: np.random.Generator
    batch_size: int
    ema: EMA | None
    clip: float | None
    shards: int | None  # None: chosen in the first step
    unit: str
    ranks: Ranks

    def __post_init__(self) -> None:
        self._check()
        keep_freed_memory()
        trained = [parameter for optimizer in self.optimizers for parameter in optimizer.parameters]
        self.finite = {id(parameter) for parameter in trained if np.all(np.isfinite(parameter.value))}
        self.default_shards = self.shards is None
        if self.shards is None and self.ranks.size == 1 and not all(map(is_mean_over_examples, self.losses)):
            self.shards = 1  # the mean over shards might not be the gradient of the batch
        self.derivatives: dict[tuple[int, int | None], Derivative] = {}  # by player and number of shards
        self.steps_per_epoch = -(-len(self.arrays[0]) // self.batch_size)
        self.step = 0
        self.order = np.arange(len(self.arrays[0]))
        self._clear_sums()
        self.gradient_norm: float | None = None
        self.history = History(self.unit)
        self.best: State | None = None
        self.before_end: Position | None = None

    def _check(self) -> None:
        shapes = [array.shape for array in self.arrays]
        equal = len(shapes) > 0 and () not in shapes and len({shape[0] for shape in shapes}) == 1 and shapes[0][0] > 0
        hint = "; pass the arrays of a data set, such as images.pixels" if () in shapes else ""
        require(equal, "data", "nonempty arrays of equal length", f"shapes {shapes}{hint}")
        n = len(self.losses)
        require(len(self.optimizers) == n, "optimizer", f"one for each of {n} losses", len(self.optimizers))
        require(set(self.turns) == set(range(n)), "turns", f"each of the players 0…{n - 1} at least once", self.turns)
        for loss in self.losses:
            _check_loss(loss, self.arrays, self.rng)
        smallest = min(self.batch_size, len(self.arrays[0]))
        hint = f"at least the {self.ranks.size} ranks of comm"
        require(smallest >= self.ranks.size, "batch_size and the number of examples", hint, smallest)
        require(self.clip is None or self.clip > 0, "clip", "a positive number or None", self.clip)
        check_rng(self.rng)
        own = {id(parameter) for parameter in self.module.parameters()}
        for name, owner in [("ema", self.ema), *(("optimizer", optimizer) for optimizer in self.optimizers)]:
            fits = owner is None or all(id(parameter) in own for parameter in owner.parameters)
            require(fits, name, "parameters of the module", "others; pass module.parameters() to its constructor")

    @cached_property
    def loss_settings(self) -> dict[str, str]:
        """The settings of the losses when they were first read: `fit` reads them before the first step."""
        return loss_settings(self.losses)

    def _derivative(self, player: int) -> Derivative:
        loss, parameters = self.losses[player], self.optimizers[player].parameters
        if self.shards is None and self.ranks.size > 1:
            self.shards = self.ranks.size
        if self.shards is not None:
            return sharded(value_and_grad(loss, inputs=parameters), self.shards, self.ranks)

        def loss_choosing_shards(*batch: Array, rng: np.random.Generator) -> Tensor:
            value = loss(*batch, rng=rng)
            self.shards = choose_shards(value)
            return value

        return value_and_grad(loss_choosing_shards, inputs=parameters)

    def examples_in(self, steps: int) -> int:
        """Return how many examples the first steps use; the last minibatch of an epoch is smaller."""
        epochs, rest = divmod(steps, self.steps_per_epoch)
        return epochs * len(self.arrays[0]) + rest * self.batch_size

    def advance(self) -> None:
        """Take one step: compute the loss and gradients of the next minibatch, and update one player."""
        start = self.step % self.steps_per_epoch * self.batch_size
        if start == 0:
            self.order = self.rng.permutation(len(self.order))
        rows = self.order[start : start + self.batch_size]
        player = self.turns[self.step % len(self.turns)]
        key = player, self.shards
        if key not in self.derivatives:
            self.derivatives[key] = self._derivative(player)
        loss, gradients = self.derivatives[key](*(array[rows] for array in self.arrays), rng=self.rng)
        if not math.isfinite(loss.item()):
            raise self._non_finite(player, loss, gradients, "all parameters and gradients are finite")
        try:
            norm = None
            if self.clip is not None:
                gradients, norm = clip_by_global_norm(gradients, self.clip)
            self.optimizers[player].step(gradients)
            self.gradient_norm = self.optimizers[player].gradient_norm if norm is None else norm
        except (NonFiniteGradientError, StepOverflowError) as error:
            raise self._non_finite(player, loss, gradients, str(error)) from error
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        self.loss_sums[player] += loss.item() * len(rows)
        self.examples[player] += len(rows)

    def _clear_sums(self) -> None:
        """Start new means of the losses of the players, after a record."""
        self.loss_sums, self.examples = [0.0] * len(self.losses), [0] * len(self.losses)

    @property
    def mean_losses(self) -> tuple[float | None, ...]:
        """Mean loss per example of each player since the last record; None if it has taken no step."""
        return tuple(s / n if n else None for s, n in zip(self.loss_sums, self.examples, strict=True))

    @property
    def mean_loss(self) -> float:
        """Mean loss of the first player; NaN if it has taken no step."""
        first = self.mean_losses[0]
        return math.nan if first is None else first

    def _non_finite(self, player: int, loss: Tensor, gradients: Sequence[Tensor], otherwise: str) -> NonFiniteError:
        """Return an error that names the first non-finite parameter, or else the first non-finite gradient."""
        names = {id(p): name for name, p in self.module.named_parameters().items()}
        suspects = [(f"parameter {name}", p.value) for name, p in self.module.named_parameters().items()]
        for p, g in zip(self.optimizers[player].parameters, gradients, strict=True):
            suspects.append((f"the gradient of {names[id(p)]}", g.value.astype(p.dtype)))
        bad = ((np.count_nonzero(~np.isfinite(array)), array.size, what) for what, array in suspects)
        causes = (f"{count} of {size} entries of {what} are NaN or infinite" for count, size, what in bad if count)
        epoch, cause = self.step // self.steps_per_epoch, next(causes, otherwise)
        return NonFiniteError(f"step {self.step} (epoch {epoch}): the loss is {loss.item()}; {cause}")

    def _check_parameters(self) -> None:
        """Raise NonFiniteError if a trained parameter has become NaN or infinite: no later loss may show it."""
        for name, parameter in self.module.named_parameters().items():
            bad = np.count_nonzero(~np.isfinite(parameter.value)) if id(parameter) in self.finite else 0
            if bad:
                found = f"{bad} of {parameter.size} entries of parameter {name} are NaN or infinite"
                raise NonFiniteError(f"after step {self.step}: {found}; is the learning rate too large?")

    def record(self, validate: Callable[[], float] | None) -> None:
        """Append a record to the history, and keep the parameters if their validation result is the best so far."""
        self._check_parameters()
        self.ranks.check_equal(self.fingerprints, f"after step {self.step}")
        loss, losses = self.mean_loss, self.mean_losses
        self._clear_sums()
        lr = tuple(float(optimizer.lr(max(0, optimizer.steps - 1))) for optimizer in self.optimizers)
        with no_grad(), self.averaged():
            valid = self.call_on_root(lambda: None if validate is None else as_returned_number("validate", validate()))
            losses = losses if len(losses) > 1 else ()
            epoch = self.step / self.steps_per_epoch
            self.history.records.append(Record(self.step, epoch, loss, valid, losses, lr, self.gradient_norm))
            if self.history.best is self.history.records[-1]:
                self.best = self.module.state()

    def fingerprints(self) -> dict[str, Any]:
        """Return what must be equal on all ranks, by name."""
        arrays = {name: fingerprint(array) for name, array in self.module.state().items()}
        return {**arrays, "rng": generator_fingerprint(self.rng)}

    def call_on_root(self, function: Callable[[], T]) -> T:
        """Call a function, which may use `rng`, on rank 0 alone. All ranks continue with its result and that `rng`."""
        generator = self.rng.bit_generator
        result, generator.state = self.ranks.call_on_root(lambda: (function(), generator.state))
        return result

    def is_recorded(self) -> bool:
        """Return whether the last record is that of this step."""
        return bool(self.history.records) and self.history.records[-1].step == self.step

    def record_end(self, validate: Callable[[], float] | None) -> bool:
        """Append a record after the last step, unless there is one. Return whether there was none.

        A longer run would not have this record: neither start a new mean of the loss nor validate here. Therefore the
        position before it is kept, from which a longer run continues.
        """
        is_new = not self.is_recorded()
        if is_new:
            self.before_end = self.position()
            self.record(validate)
        return is_new

    def position(self) -> Position:
        rng = dict(copy.deepcopy(self.rng.bit_generator.state))
        sums, examples, records = self.loss_sums.copy(), self.examples.copy(), self.history.records.copy()
        return Position(sums, examples, self.gradient_norm, rng, records, self.best)

    def restore(self, position: Position) -> None:
        self.loss_sums, self.examples = position.loss_sums.copy(), position.examples.copy()
        self.gradient_norm, self.best = position.gradient_norm, position.best
        self.rng.bit_generator.state = position.rng
        self.history.records = position.records.copy()

    def best_record(self) -> Record | None:
        """Return the record with the best validation result, or None if there was no validation.

        Raises NonFiniteError if no validation result was finite.
        """
        results = [record.valid for record in self.history.records if record.valid is not None]
        if results and not any(map(math.isfinite, results)):
            got = f"{results[-1]} at the last of {len(results)} records"
            raise NonFiniteError(f"validate: expected a finite number at least once, got {got}")
        return self.history.best

    def result(self) -> State:
        """Return the state with the best validation result; without one, the averages, if any, else the last state."""
        if self.best is not None:
            return self.best
        with self.averaged():
            return self.module.state()

    def averaged(self) -> AbstractContextManager[None]:
        return self.ema.averaged() if self.ema else nullcontext()


def _check_loss(loss: Loss, arrays: list[Array], rng: np.random.Generator) -> None:
    require(callable(loss), "loss", "a function, or one for each player", repr(loss))
    try:
        inspect.signature(loss).bind(*arrays, rng=rng)
    except ValueError:  # some functions written in C have no signature
        return
    except TypeError as error:
        wanted = f"a function that can be called as loss(*batch, rng=rng), with {len(arrays)} array(s) in a batch"
        raise ValueError(f"loss: expected {wanted}; {error}") from error
