"""A small training run for the tests of exact resume. Run as a program, it waits for input at each step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import nn
from tinygen.autograd import Array, Tensor, tanh
from tinygen.optim import EMA, Adam, Optimizer, cosine
from tinygen.training import History, fit

EXAMPLES, BATCH, EPOCHS = 10, 4, 3  # three steps per epoch, the last one on two examples
STEPS = 9


class Net(nn.Module):
    """A regression with dropout and a random constant, so that a wrong generator or constant changes the result."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.first, self.last = nn.Linear(2, 5, rng), nn.Linear(5, 1, rng)
        self.order = rng.permutation(2)

    def loss(self, x: Array, y: Array, *, rng: np.random.Generator | None = None) -> Tensor:
        error = self.last(nn.dropout(tanh(self.first(x[:, self.order])), 0.2, rng)) - y
        return (error * error).mean()


@dataclass
class TrainingRun:
    """The objects that `fit` changes, and the history that it returned."""

    net: Net
    optimizer: Optimizer
    ema: EMA
    rng: np.random.Generator
    history: History | None = None

    def everything(self) -> dict[str, Any]:
        """Return the complete state by name."""
        return {
            **self.net.state(),
            **{f"optimizer.{name}": value for name, value in self.optimizer.state().items()},
            **{f"ema.{name}": value for name, value in self.ema.state().items()},
            "rng": self.rng.bit_generator.state,
            "history": self.history,
        }


def make_run(seed: int = 0) -> TrainingRun:
    net = Net(seed)
    optimizer = Adam(net.parameters(), cosine(0.05, STEPS, warmup=2))
    return TrainingRun(net, optimizer, EMA(net.parameters(), 0.7), np.random.default_rng(seed))


def data() -> tuple[Array, Array]:
    x = np.random.default_rng(9).normal(size=(EXAMPLES, 2)).astype(np.float32)
    return x, np.sin(3 * x[:, :1])


def train(folder: Path, every: int, before: Callable[[int], None] = lambda call: None, **changes: Any) -> TrainingRun:
    """Train `changes["run"]` or a new run, with its files in `folder`. Call before(i) ahead of the i-th loss."""
    run, calls = changes.pop("run", None) or make_run(), iter(range(10**6))

    def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        before(next(calls))
        return run.net.loss(x, y, rng=rng)

    settings: dict[str, Any] = {
        "optimizer": run.optimizer,
        "batch_size": BATCH,
        "epochs": EPOCHS,
        "rng": run.rng,
        # The best result is in the middle, so the kept parameters must survive an interruption after it.
        "validate": lambda: run.net.loss(*data()).item() + abs(run.optimizer.steps - 4),
        "every": every,
        "ema": run.ema,
        "clip": 0.5,
        "checkpoint": folder / "run.npz",
        "history": folder / "run.jsonl",
        "progress": False,
    }
    run.history = fit(changes.pop("loss", loss), run.net, data(), **{**settings, **changes})
    return run


if __name__ == "__main__":  # before each loss, print its index and wait for a line of input
    train(Path(sys.argv[1]), int(sys.argv[2]), lambda call: (print(call, flush=True), sys.stdin.readline())[0])
