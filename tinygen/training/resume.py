"""Exact resume: a run that continues from its checkpoint ends bitwise equal to an uninterrupted one.

The checkpoint holds everything that a step depends on: parameters, optimisers, averages, the random generator, the
step count, and the order of the examples in the current epoch. It also holds the configuration, which must not change.
All of it is checked before any of it is loaded.

Checked by: tests/training/test_resume.py
"""

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import require
from ..nn.module import State
from ..optim import Optimizer
from ..recorded import describe, fingerprint, is_same_setting
from ..version import __version__
from .checkpoint import (
    CheckpointError,
    attributes,
    check_group,
    check_settings,
    read_checkpoint,
    restore,
    to_json,
    write_checkpoint,
)
from .history import History, Record
from .run import Position, Run


def save_run(run: Run, path: str | Path) -> None:
    """Write the state and the configuration of a run to a checkpoint."""
    groups = {"module": run.module.state(), "run": {"order": run.order}}
    groups |= {f"optimizer{player}": optimizer.state() for player, optimizer in enumerate(run.optimizers)}
    if run.ema is not None:
        groups["ema"] = run.ema.state()
    if run.best is not None or run.ema is not None:
        groups["best"] = run.result()
    position, end = run.position(), None
    if run.before_end is not None:
        end, position = _numbers(position), run.before_end
        if position.best is not None and position.best is not run.best:
            groups["best_before_end"] = position.best
    header = {
        "model": describe(run.module),
        "attributes": attributes(run.module),
        "result": "best" if "best" in groups else "module",
        "configuration": configuration(run),
        "step": run.step,
        **_numbers(position),
        "end": end,  # the same numbers after the record that a longer run would not have
    }
    write_checkpoint(path, groups, header)


def load_run(run: Run, path: str | Path, total: int, every: int) -> None:
    """Restore the state of a run of `total` steps with a record after every `every` steps.

    If the checkpoint is that of a shorter run, which ended with an additional record, that record is dropped.

    Raises CheckpointError if the file is damaged, is not that of a training run, has a different configuration, or is
    at a step after `total`. The run is then unchanged.
    """
    groups, header = run.ranks.call_on_root(lambda: read_checkpoint(path))
    if "configuration" not in header:
        raise CheckpointError(f"{path}: expected a training run, got a module; read it with load_checkpoint")
    try:
        shards = _check_configuration(run, header)
        _check_groups(run, groups)
        step = _count(header, "step")
        got = f"{total}; use another path, or resume=False to overwrite it"
        require(step <= total, "epochs, steps", f"at least the {step} steps of the checkpoint", got)
        position, end = _position(run, header, groups, "best_before_end"), None
        if header.get("end") is not None:
            end = _position(run, header["end"], groups, "best")
        restore(run.module, groups["module"], header)  # checks everything before it changes anything
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    for player, optimizer in enumerate(run.optimizers):
        optimizer.load(groups[f"optimizer{player}"])
    if run.ema is not None:
        run.ema.load(groups["ema"])
    run.shards, run.step, run.order = shards, step, groups["run"]["order"]
    has_end = end is not None and (step == total or step % every == 0)
    run.restore(end if end is not None and has_end else position)
    run.before_end = position if has_end and step % every else None


def _numbers(position: Position) -> dict[str, Any]:
    """Return a position as JSON values, without its arrays."""
    return {
        "loss_sum": position.loss_sums,
        "examples": position.examples,
        "gradient_norm": position.gradient_norm,
        "rng": position.rng,
        "records": [record.to_json() for record in position.records],
    }


def _position(run: Run, numbers: dict[str, Any], groups: dict[str, State], best: str) -> Position:
    """Return the position that `_numbers` described. The parameters of its best record are in the group `best`."""
    values: list[Any] = [numbers.get(name) for name in ("loss_sum", "examples", "gradient_norm", "records")]
    sums, examples, norm, given = values
    if isinstance(sums, float):  # format 1 has those of the first player alone
        sums, examples = [[first, *[0] * (len(run.losses) - 1)] for first in (sums, examples)]
    _check_numbers("loss_sum", sums, len(run.losses))
    _check_numbers("examples", examples, len(run.losses))
    _check_numbers("gradient_norm", [0.0 if norm is None else norm], 1)
    require(min(examples) >= 0, "examples", "at least 0", examples)
    require(isinstance(given, list), "records", "a list", repr(given))
    for record in given:
        _count(record, "step")
        for name in ("epoch", "loss", "valid"):
            fits = isinstance(record[name], float) or (record[name] is None and name == "valid")
            require(fits, f"records.{name}", "a number", repr(record[name]))
    records = [Record.from_json(record) for record in given]
    try:
        copy.deepcopy(run.rng.bit_generator).state = numbers["rng"]
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"rng: expected the state of a {type(run.rng.bit_generator).__name__}, got {error}") from error
    # Without a validated record, "best" holds averages, which later averages must replace.
    state = groups.get(best, groups.get("best")) if History(run.unit, records).best else None
    return Position(sums, examples, norm, numbers["rng"], records, state)


def _check_numbers(name: str, values: Any, count: int) -> None:
    fits = isinstance(values, list) and len(values) == count
    fits = fits and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    require(fits, name, f"{count} numbers", repr(values))


def _count(numbers: Mapping[str, Any], name: str) -> int:
    value = numbers.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")
    return value


def _check_groups(run: Run, groups: dict[str, State]) -> None:
    """Raise ValueError unless the groups have exactly the arrays that this run would write."""
    state = run.module.state()
    expected = {"module": state, "run": {"order": run.order}}
    expected |= {f"optimizer{player}": optimizer.state() for player, optimizer in enumerate(run.optimizers)}
    expected |= {} if run.ema is None else {"ema": run.ema.state()}
    expected |= {name: state for name in ("best", "best_before_end") if name in groups}
    for name, own in expected.items():
        check_group(groups, name, own)
    for player, optimizer in enumerate(run.optimizers):
        optimizer.check_state(groups[f"optimizer{player}"])
    if run.ema is not None:
        run.ema.check_state(groups["ema"])
    order = groups["run"]["order"]
    require(np.array_equal(np.sort(order), np.arange(len(order))), "run.order", "a permutation", order)


def _check_configuration(run: Run, header: dict[str, Any]) -> int | None:
    """Raise ValueError unless the configuration is that of this run. Return the number of shards, None if not known."""
    here, there = json.loads(to_json(configuration(run))), header["configuration"]
    new = here.pop("loss")
    old = there.get("loss", new)  # checkpoints of earlier versions do not have it
    if len(there.get("lr", [])) == len(here["lr"]):
        here["lr"] = [_where_known(*pair) for pair in zip(here["lr"], there["lr"], strict=True)]
    shards: int | None = there.get("shards")
    require(shards is None or (type(shards) is int and shards >= 1), "shards", "an integer of at least 1", repr(shards))
    if run.default_shards:  # keep the number in the checkpoint, which may come from a run with more threads
        here["shards"] = shards
    else:
        shards = run.shards
    # A default that only one of two versions of tinygen has is not a difference.
    names = old.keys() | new.keys() if header.get("version") == __version__ else old.keys() & new.keys()
    changed = sorted(name for name in names if not is_same_setting(old.get(name), new.get(name)))
    pairs = {key: (there.get(key), here[key]) for key in here} | {key: (old.get(key), new.get(key)) for key in changed}
    differences = [f"{key} is {before}, not {now}" for key, (before, now) in pairs.items() if before != now]
    if differences:
        raise ValueError(
            f"expected the configuration of this run, got a different one: {'; '.join(differences)}; use "
            "another path, or resume=False to overwrite it"
        )
    check_settings(run.module, header)
    return shards


def configuration(run: Run) -> dict[str, Any]:
    """Return the settings that must not change on resume; the number of steps and the record interval may."""
    names = {id(p): name for name, p in run.module.named_parameters().items()}
    seed = getattr(run.rng.bit_generator, "seed_seq", None)
    return {
        "loss": run.loss_settings,
        "module": type(run.module).__name__,
        "parameters": {name: f"{p.dtype} {p.shape}" for name, p in run.module.named_parameters().items()},
        "trained": [[names[id(p)] for p in optimizer.parameters] for optimizer in run.optimizers],
        "optimizer": [repr(optimizer) for optimizer in run.optimizers],
        # A schedule is a function, so it is compared by its values at a few steps.
        "lr": [[_lr(o, step) for step in (0, 1, 10, 100, 1_000, 10_000, 100_000)] for o in run.optimizers],
        "turns": run.turns,
        "batch_size": run.batch_size,
        "clip": run.clip,
        "shards": run.shards,
        "ema_decay": run.ema.decay if run.ema else None,
        "generator": type(run.rng.bit_generator).__name__,
        "seed": [getattr(seed, "entropy", None), getattr(seed, "spawn_key", None)],
        "data": [fingerprint(array) for array in run.arrays],
    }


def _lr(optimizer: Optimizer, step: int) -> float | None:
    """Return the learning rate, or None if the schedule fails at this step, as one that looks up a list may."""
    try:
        return float(optimizer.lr(step))
    except Exception:  # of any type: a schedule is a user's function, and an error in a step of the run is raised there
        return None


def _where_known(here: list[float | None], there: list[float | None]) -> list[float | None]:
    """Return the learning rates of this run, but those of the checkpoint where one of the two is None."""
    return [theirs if None in (ours, theirs) else ours for ours, theirs in zip(here, there, strict=True)]
