"""Missing and altered parts of a checkpoint are rejected by name, or do not matter; nothing is half loaded."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import EPOCHS, Net, TrainingRun, make_run, train

from tinygen.autograd import Array
from tinygen.training import CheckpointError, load_checkpoint
from tinygen.training.checkpoint import read_checkpoint, write_checkpoint

EVERY = 4  # the last record, after step 9, is one that a longer run would not have
ALTERATIONS: dict[str, Callable[[Array], Array | None]] = {
    "missing": lambda array: None,
    "another kind": lambda array: array.astype(np.float64 if array.dtype.kind == "i" else np.int64),
    "another size": lambda array: array.astype(np.float16 if array.dtype.kind == "f" else np.int8),
    "text": lambda array: array.astype(str),
    "another shape": lambda array: array[None],
    "another length": lambda array: np.append(array.ravel(), array.ravel()[:1]),
    "NaN": lambda array: np.full(array.shape, np.nan, array.dtype if array.dtype.kind == "f" else np.float64),
}


Parts = tuple[dict[str, dict[str, Array]], dict[str, Any]]  # the groups and the header


def improving_run(folder: Path, epochs: int = EPOCHS, run: TrainingRun | None = None) -> TrainingRun:
    """Train a run in which every record is the best so far, so that its checkpoint has all groups."""
    run = run or make_run()
    return train(folder, EVERY, run=run, epochs=epochs, validate=lambda: -float(run.optimizer.steps))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, TrainingRun]:
    return {epochs: improving_run(tmp_path_factory.mktemp("whole"), epochs) for epochs in (EPOCHS, EPOCHS + 1)}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("saved")
    improving_run(folder)
    groups, header = read_checkpoint(folder / "run.npz")
    assert list(groups) == ["module", "run", "optimizer0", "ema", "best", "best_before_end"]
    for key in ("format", "version", "groups", "arrays"):  # written by write_checkpoint
        del header[key]
    return groups, header


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[k], other[k]) if isinstance(one[k], np.ndarray) else one[k] == other[k] for k in one)


def check_rejected_or_harmless(path: Path, runs: dict[int, TrainingRun]) -> list[str]:
    """Load an altered checkpoint in every way: either nothing changes, or all is as usual. Return the errors."""
    net, content, errors = Net(1), path.read_bytes(), list[str]()
    before = net.state()
    try:
        load_checkpoint(path, net)
    except CheckpointError as error:
        errors.append(str(error))
        assert equal(net.state(), before)
    else:
        assert equal(net.state(), runs[EPOCHS].net.state())
    for epochs, whole in runs.items():
        run = make_run(0)
        start = run.everything()
        try:
            improving_run(path.parent, epochs, run)
        except CheckpointError as error:
            errors.append(str(error))
            assert equal(run.everything(), start)
            assert path.read_bytes() == content
        else:
            assert equal(run.everything(), whole.everything())
        path.write_bytes(content)
    return errors


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_array_is_rejected(alteration: str, parts: Parts, runs: dict[int, TrainingRun], tmp_path: Path) -> None:
    """Checkpoints are written as usual, so the list of arrays in the header agrees with the altered array."""
    groups, header = parts
    for group, arrays in groups.items():
        for name, array in arrays.items():
            if alteration == "another size" and group == "best":
                continue  # load_checkpoint converts the dtype to that of the module
            changed = ALTERATIONS[alteration](array)
            new = {key: value for key, value in arrays.items() if key != name}
            new |= {} if changed is None else {name: changed}
            write_checkpoint(tmp_path / "run.npz", {**groups, group: new}, header)
            errors = check_rejected_or_harmless(tmp_path / "run.npz", runs)
            assert errors
            assert all(name in error for error in errors)


def test_array_that_is_not_the_listed_one_is_rejected(parts: Parts, tmp_path: Path) -> None:
    """Here the header still lists the original arrays, as if another program had changed the file."""
    path = tmp_path / "run.npz"
    write_checkpoint(path, *parts)
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in arrays.keys() - {"header"}:
        for changed in (*(alter(arrays[name]) for alter in ALTERATIONS.values()), arrays[name] + 1):
            new = {key: value for key, value in arrays.items() if key != name}
            np.savez(path, **new, **({} if changed is None else {name: changed}))
            with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
                read_checkpoint(path)
    np.savez(path, **arrays, extra=np.ones(1))
    with pytest.raises(CheckpointError, match="extra"):
        read_checkpoint(path)


def leaves(header: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a tree of dicts and lists, including the containers."""
    items = header.items() if isinstance(header, dict) else enumerate(header) if isinstance(header, list) else ()
    return [deeper for key, value in items for deeper in [(*path, key), *leaves(value, (*path, key))]]


@pytest.mark.parametrize("value", [..., None, "text", -1, math.nan, [], {}, True], ids=str)
def test_altered_header_is_rejected(value: Any, parts: Parts, runs: dict[int, TrainingRun], tmp_path: Path) -> None:
    groups, header = parts
    for where in leaves(header):
        changed = copy.deepcopy(header)
        *outer, last = where
        holder = functools.reduce(lambda tree, key: tree[key], outer, changed)
        if value is ...:
            del holder[last]
        else:
            holder[last] = value
        if {"records", "rng", "loss_sum"} & set(where[:-1]) or (last == "records" and value == []):
            continue  # another history, loss or state of the generator cannot be told from the right one
        write_checkpoint(tmp_path / "run.npz", groups, changed)
        check_rejected_or_harmless(tmp_path / "run.npz", runs)
