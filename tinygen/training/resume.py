"""Exact resume: a run that continues from its checkpoint ends bitwise equal to an uninterrupted one.

The checkpoint holds everything that a step depends on: parameters, optimisers, averages, the random generator, the
step count, and the order of the examples in the current epoch. It also holds the configuration, which must not change.

Checked by: tests/training/test_resume.py
"""

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import CheckpointError, read_checkpoint, to_json, write_checkpoint
from .history import Record
from .run import Run


def save_run(run: Run, path: str | Path) -> None:
    """Write the state and the configuration of a run to a checkpoint."""
    groups = {"module": run.module.state(), "run": {"order": run.order}}
    groups |= {f"optimizer{player}": optimizer.state() for player, optimizer in enumerate(run.optimizers)}
    if run.ema is not None:
        groups["ema"] = run.ema.state()
    if run.best is not None or run.ema is not None:
        groups["best"] = run.result()
    header = {
        "configuration": _configuration(run),
        "step": run.step,
        "loss_sum": run.loss_sum,
        "examples": run.examples,
        "rng": run.rng.bit_generator.state,
        "records": [asdict(record) for record in run.history.records],
    }
    write_checkpoint(path, groups, header)


def load_run(run: Run, path: str | Path) -> None:
    """Restore the state of a run from a checkpoint.

    Raises CheckpointError if the file is damaged, is not that of a training run, or has a different configuration.
    """
    groups, header = read_checkpoint(path)
    if "configuration" not in header:
        raise CheckpointError(f"{path}: expected a training run, got a module; read it with load_checkpoint")
    here, there = json.loads(to_json(_configuration(run))), header["configuration"]
    if run.shards is None:  # keep the number in the checkpoint, which may come from a run with more threads
        run.shards = here["shards"] = there.get("shards")
    differences = [f"{key} is {there.get(key)}, not {here[key]}" for key in here if here[key] != there.get(key)]
    if differences:
        raise CheckpointError(
            f"{path}: expected the configuration of this run, got a different one: {'; '.join(differences)}; use "
            "another path, or resume=False to overwrite it"
        )
    try:
        run.module.load(groups["module"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    for player, optimizer in enumerate(run.optimizers):
        optimizer.load(groups[f"optimizer{player}"])
    if run.ema is not None:
        run.ema.load(groups["ema"])
    run.order = groups["run"]["order"]
    run.step, run.loss_sum, run.examples = header["step"], header["loss_sum"], header["examples"]
    run.rng.bit_generator.state = header["rng"]
    run.history.records = [Record(**record) for record in header["records"]]
    # Without a validated record, "best" holds the averages of that step, which later averages must replace.
    run.best = groups["best"] if run.history.best else None


def _configuration(run: Run) -> dict[str, Any]:
    """Return the settings that must not change on resume; the number of steps and the record interval may."""
    names = {id(p): name for name, p in run.module.named_parameters().items()}
    seed = getattr(run.rng.bit_generator, "seed_seq", None)
    return {
        "module": type(run.module).__name__,
        "parameters": {name: f"{p.dtype} {p.shape}" for name, p in run.module.named_parameters().items()},
        "trained": [[names[id(p)] for p in optimizer.parameters] for optimizer in run.optimizers],
        "optimizer": [repr(optimizer) for optimizer in run.optimizers],
        # A schedule is a function, so it is compared by its values at a few steps.
        "lr": [[float(o.lr(step)) for step in (0, 1, 10, 100, 1_000, 10_000, 100_000)] for o in run.optimizers],
        "turns": run.turns,
        "batch_size": run.batch_size,
        "clip": run.clip,
        "shards": run.shards,
        "ema_decay": run.ema.decay if run.ema else None,
        "generator": type(run.rng.bit_generator).__name__,
        "seed": [getattr(seed, "entropy", None), getattr(seed, "spawn_key", None)],
        "data": [f"{a.dtype} {a.shape} crc32 {zlib.crc32(np.ascontiguousarray(a).data):08x}" for a in run.arrays],
    }
