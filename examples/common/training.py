"""One training of an example: its setting and seed, and where its state and results are kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.files import import_optional


@dataclass(frozen=True)
class Training:
    """One training: what differs between the models that are compared, and where its state is kept."""

    setting: str
    seed: int
    steps: int
    quick: bool
    checkpoint: Path
    out: Path
    first: bool  # whether this is the first seed
    mpi: bool = False

    @property
    def results(self) -> Path:
        return self._file(".npz")

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints of this training and its parts."""
        return list(self.checkpoint.parent.glob(self._file("*.checkpoint.npz").name))

    def rng(self, stream: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream] if stream else self.seed)

    def part(self, name: str, scale: float = 1.0) -> Training:
        """Return a training with its own checkpoint and `scale` times the steps, for one of several models."""
        checkpoint = self._file(f"-{name}.checkpoint.npz")
        return replace(self, steps=max(1, round(scale * self.steps)), checkpoint=checkpoint)

    def _file(self, ending: str) -> Path:
        return self.checkpoint.with_name(self.checkpoint.name.removesuffix(".checkpoint.npz") + ending)

    def options(self, records: int = 10) -> dict[str, Any]:
        """Return arguments of `fit`: the steps, the interval of that many records, the checkpoint, and the ranks."""
        every, terminal = max(1, self.steps // records), sys.stderr.isatty()
        options = {"steps": self.steps, "every": every, "checkpoint": self.checkpoint, "progress": terminal}
        return {**options, "comm": world()} if self.mpi else options


def world() -> Any:
    """Return the communicator of all ranks of MPI."""
    return import_optional("mpi4py.MPI", "--mpi", "mpi").COMM_WORLD
