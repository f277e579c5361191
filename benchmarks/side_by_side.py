"""A training step here and the same one in PyTorch: what every comparison of the two has in common."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tinygen import value_and_grad
from tinygen.kernels.runtime.pool import set_num_threads
from tinygen.optim import Adam
from tinygen.training import sharded

Step = Callable[[], float]


def arguments(doc: str | None, quick: str = "one small row") -> argparse.Namespace:
    """Read --threads, of which both libraries then have so many, and --quick."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help=quick)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    set_num_threads(given.threads)
    return given


def our_step(model: Any, *batch: np.ndarray, rng: np.random.Generator, shards: int = 1) -> Step:
    """Forward, backward and Adam of a copy of the model, in tinygen; the step returns the loss."""
    model = copy.deepcopy(model)
    optimizer = Adam(model.parameters(), 1e-3)
    derivative: Callable[..., Any] = value_and_grad(model.loss, optimizer.parameters)
    if shards > 1:
        derivative = sharded(derivative, shards)

    def step() -> float:
        loss, gradients = derivative(*batch, rng=rng)
        optimizer.step(gradients)
        return loss.item()

    return step


def torch_step(loss: Callable[[], torch.Tensor], *twins: torch.nn.Module) -> Step:
    """The same in PyTorch, of a loss of these modules' parameters."""
    learned = [p for twin in twins for p in twin.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, 1e-3)

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return float(value.item())

    return step


def check_same_descent(steps: Mapping[str, Step], tolerance: float = 1e-4) -> None:
    """Raise AssertionError unless three steps of each have the same losses, as steps of one network have."""
    for _ in range(3):
        losses = {name: step() for name, step in steps.items()}
        values = list(losses.values())
        assert np.ptp(values) < tolerance * abs(values[0]), losses
