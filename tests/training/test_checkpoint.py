"""Checkpoints: whole or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import Net, train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygen.nn import Linear
from tinygen.training import CheckpointError, load_checkpoint, save_checkpoint
from tinygen.training.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "net.npz", Net(0))
    return tmp_path / "net.npz"


def check_refused(path: Path, said: str = "not a whole checkpoint") -> None:
    net = Net(1)
    before = net.state()
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(path, net)
    assert str(path) in str(caught.value)
    assert all(np.array_equal(value, before[name]) for name, value in net.state().items())


def test_save_and_load(path: Path) -> None:
    net, saved = Net(1), Net(0).state()
    load_checkpoint(path, net)
    assert all(
        np.array_equal(value, saved[name]) and value.dtype == saved[name].dtype for name, value in net.state().items()
    )
    assert [file.name for file in path.parent.iterdir()] == ["net.npz"]


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in {*range(0, len(content), 37), *range(len(content) - 30, len(content))}:
        path.write_bytes(content[:length])
        check_refused(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_harmless(path: Path, where: float, flip: int) -> None:
    """Harmless are those that hold no data, such as a date; what is loaded is always what was saved."""
    content = bytearray(path.read_bytes())
    damaged = path.with_name("damaged.npz")
    content[int(where * len(content))] ^= flip
    damaged.write_bytes(content)
    net, saved = Net(1), Net(0).state()
    try:
        load_checkpoint(damaged, net)
    except CheckpointError:
        saved = Net(1).state()
    assert all(np.array_equal(value, saved[name]) for name, value in net.state().items())


def test_every_flipped_byte_of_the_numbers_is_refused(path: Path) -> None:
    content = path.read_bytes()
    start = content.index(Net(0).first.w.value.tobytes())
    for i in range(start, start + Net(0).first.w.value.nbytes):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        check_refused(path)


def test_a_shape_that_was_made_smaller_is_refused(path: Path) -> None:
    """Fewer numbers are read then than there are, so that reading alone would not come to the checksum."""
    content = path.read_bytes()
    assert content.count(b"'shape': (2, 5)") == 1
    path.write_bytes(content.replace(b"'shape': (2, 5)", b"'shape': (1, 5)"))
    with pytest.raises(CheckpointError, match=r"first\.w\.npy is damaged"):
        read_checkpoint(path)


def test_foreign_files_are_refused(path: Path) -> None:
    np.savez(path, w=np.ones(3))
    check_refused(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "another"}).encode(), np.uint8))
    check_refused(path, "format: expected .*, got 'another'")
    np.save(path.with_suffix(".npy"), np.ones(3))
    check_refused(path.with_suffix(".npy"))
    path.write_text("not an archive")
    check_refused(path)


def test_a_pickle_is_refused_and_never_opened(path: Path) -> None:
    opened = path.with_name("opened")

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(opened),)

    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "module.first.w": np.array([Trap()], object)})
    check_refused(path)
    assert not opened.exists()


def test_a_checkpoint_of_another_module_is_refused_by_name_and_shape(path: Path) -> None:
    save_checkpoint(path, Linear(3, 2, np.random.default_rng(0)))
    check_refused(path, r"first\.w of shape \(2, 5\) is missing.*w is unknown")
    write_checkpoint(path, {"module": {**Net(0).state(), "first.w": np.ones((3, 5))}}, {})
    check_refused(path, r"first\.w: expected shape \(2, 5\), got \(3, 5\)")


def test_a_checkpoint_without_a_module_is_refused(path: Path) -> None:
    write_checkpoint(path, {"optimizer": {"m": np.ones(3)}}, {})
    check_refused(path, r"expected a module or a training run, got groups \['optimizer'\]")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.npz", Net(0))


names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=st.dictionaries(names, st.lists(st.floats(width=32), max_size=3)), note=st.integers())
def test_any_names_and_numbers_come_back(tmp_path: Path, arrays: dict[str, list[float]], note: int) -> None:
    group = {name: np.array(values, np.float32) for name, values in arrays.items()}
    write_checkpoint(tmp_path / "any.npz", {"a": group, "b": {}}, {"note": note})
    groups, header = read_checkpoint(tmp_path / "any.npz")
    assert header["note"] == note
    assert groups["b"] == {}
    assert groups["a"].keys() == group.keys()
    assert all(np.array_equal(groups["a"][name], value, equal_nan=True) for name, value in group.items())


def test_a_name_that_ends_like_a_file_is_not_taken_for_another(tmp_path: Path) -> None:
    group = {"w": np.zeros(2), "w.npy": np.ones(2), "w.npy.npy": np.full(2, 2.0)}
    for order in (list(group), list(group)[::-1]):
        write_checkpoint(tmp_path / "both.npz", {"a": {name: group[name] for name in order}}, {})
        groups, _ = read_checkpoint(tmp_path / "both.npz")
        assert {name: value[0] for name, value in groups["a"].items()} == {"w": 0, "w.npy": 1, "w.npy.npy": 2}


def test_a_damaged_checkpoint_stops_a_run_before_it_starts(tmp_path: Path) -> None:
    train(tmp_path, 3, epochs=1)
    content = (tmp_path / "run.npz").read_bytes()
    (tmp_path / "run.npz").write_bytes(content[:-5])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        train(tmp_path, 3)
    assert (tmp_path / "run.npz").read_bytes() == content[:-5]
