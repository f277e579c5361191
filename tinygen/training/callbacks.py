"""Callbacks of `fit`, called at every record: early stopping, and output to a CSV file, TensorBoard or a picture.

A callback is a function of an Event. If it returns True, the run ends after this record. A resumed run calls the
callbacks again for its last record, so what they do should depend on the history, not on how often they were called.

Checked by: tests/training/test_callbacks.py
"""

import csv
import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .. import plot
from ..arguments import Explained
from ..autograd import Array, no_grad
from ..checks import at_least, check_file, require
from ..files import import_optional, write_atomically
from ..nn import Module
from .history import History, Record
from .run import Run


@dataclass(frozen=True)
class Event:
    """A record and its run. The parameters of the module are averages if the run has an `ema`."""

    record: Record
    history: History
    module: Module
    seconds: float  # since `fit` was called
    examples_per_second: float  # since the record before, or since `fit` was called


Callback: TypeAlias = Callable[[Event], "bool | None"]  # True ends the training


class Watch:
    """Calls the callbacks of a run, and measures its speed."""

    def __init__(self, run: Run, callbacks: list[Callback]) -> None:
        self.run, self.callbacks = run, callbacks
        self.start = self.last = time.perf_counter()
        self.last_step = run.step

    def __call__(self) -> bool:
        """Call the callbacks if the last step has a record. Return whether one of them asks to stop."""
        run, now, records = self.run, time.perf_counter(), self.run.history.records
        if not records or records[-1].step != run.step:
            return False
        speed = (run.examples_in(run.step) - run.examples_in(self.last_step)) / (now - self.last)
        event = Event(records[-1], run.history, run.module, now - self.start, speed)
        with no_grad(), run.averaged():
            results = run.call_on_root(lambda: [_stops(callback, event) for callback in self.callbacks])
        self.last, self.last_step = now, run.step
        return any(results)


def _stops(callback: Callback, event: Event) -> bool:
    stop = callback(event)
    wanted = "a function that returns True, False or None"
    require(stop is None or isinstance(stop, bool | np.bool_), "on_record", wanted, f"one that returned {stop!r}")
    return bool(stop)


@dataclass(frozen=True)
class EarlyStopping:
    """Stop if none of the last `patience` validation results is the best so far.

    Source: Prechelt, "Early stopping — but when?", 1998.
    """

    patience: int

    def __post_init__(self) -> None:
        at_least(1, patience=self.patience)

    def __call__(self, event: Event) -> bool:
        best, records = event.history.best, event.history.records  # without a finite result, there is no best
        validated = [record for record in records if record.valid is not None]
        return len(validated) >= self.patience and best not in validated[-self.patience :]


@dataclass(frozen=True)
class CSVLog(Explained):
    """Write the history to a CSV file, one row per record."""

    path: str | Path

    def __post_init__(self) -> None:
        check_file("path", self.path, ".csv")

    def __call__(self, event: Event) -> None:
        rows = [numbers(record) for record in event.history.records]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[-1]), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode())


class TensorBoard:
    """Write all numbers of an event for TensorBoard, to a folder. Needs the package tensorboardX."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.package = folder, import_optional("tensorboardX", "TensorBoard", "tensorboard")

    @cached_property
    def writer(self) -> Any:
        """The writer, which creates a file. Only rank 0 of MPI calls callbacks, so it must not be made earlier."""
        return self.package.SummaryWriter(str(self.folder))

    def __call__(self, event: Event) -> None:
        timing = {"seconds": event.seconds, "examples_per_second": event.examples_per_second}
        for name, value in {**numbers(event.record), **timing}.items():
            if value is not None:
                self.writer.add_scalar(name, value, event.record.step)
        self.writer.flush()


@dataclass(frozen=True)
class SampleGrid(Explained):
    """Draw n images from the model, always with the same seed, and write them to a PNG file.

    The images of a conditional model are divided evenly among its classes. `levels` is the number of grey levels, as in
    `plot.sample_grid`; by default that of the model, or 2 if it has none.
    """

    path: str | Path
    n: int = 64
    levels: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_file("path", self.path, ".png")
        at_least(1, n=self.n)
        at_least(2, levels=2 if self.levels is None else self.levels)
        at_least(0, seed=self.seed)

    def __call__(self, event: Event) -> None:
        images, levels = draw(event.module, self.n, np.random.default_rng(self.seed))
        title = f"step {event.record.step}"
        plot.save(plot.sample_grid(images, levels=self.levels or levels or 2, title=title), self.path)


def draw(
    model: Any, n: int, rng: np.random.Generator, label: int | None = None, **options: Any
) -> tuple[Array, int | None]:
    """Return n samples, of class `label` or of all classes in order, and their levels (None if continuous)."""
    classes, context = getattr(model, "classes", 0), getattr(model, "context", 0) or 0
    labels = np.arange(n) * (classes or context) // max(n, 1) if label is None else np.full(n, label)
    given = {"labels": labels} if classes else {"context": np.eye(context)[labels]} if context else {}
    return model.sample(n, rng, **given, **options), getattr(getattr(model, "output", model), "levels", None)


def numbers(record: Record) -> dict[str, float | None]:
    """Return the numbers of a record by name; those of several players are numbered."""
    row: dict[str, float | None] = {}
    for name, value in asdict(record).items():
        row |= {f"{name}.{i}": each for i, each in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return row
