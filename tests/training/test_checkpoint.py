"""Checkpoints: exact round trips, and rejection of damaged files and of files of other modules."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import Net, train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygen.autograd import relu, tanh
from tinygen.bijections import AffineTransformer, Inverse, Logit, Permute, Squeeze
from tinygen.models import IAF, MAF, NICE, PixelCNN, RealNVP
from tinygen.nn import Linear, Module
from tinygen.optim import SGD
from tinygen.training import CheckpointError, fit, load_checkpoint, save_checkpoint
from tinygen.training.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "net.npz", Net(0))
    return tmp_path / "net.npz"


def check_rejected(path: Path, message: str = "not a complete tinygen checkpoint") -> None:
    """Check that load_checkpoint raises an error with the message and the path, and does not change the module."""
    net = Net(1)
    before = net.state()
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path, net)
    assert str(path) in str(caught.value)
    assert all(np.array_equal(value, before[name]) for name, value in net.state().items())


def test_load_restores_values_and_dtypes(path: Path) -> None:
    net, saved = Net(1), Net(0).state()
    load_checkpoint(path, net)
    assert all(
        np.array_equal(value, saved[name]) and value.dtype == saved[name].dtype for name, value in net.state().items()
    )
    assert [file.name for file in path.parent.iterdir()] == ["net.npz"]


def test_rejects_a_file_truncated_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in {*range(0, len(content), 37), *range(len(content) - 30, len(content))}:
        path.write_bytes(content[:length])
        check_rejected(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_changed_byte_is_detected_or_harmless(path: Path, where: float, flip: int) -> None:
    """Bytes outside the data, such as a date, are harmless: if loading succeeds, the values are those saved."""
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


def test_rejects_a_changed_byte_anywhere_in_the_values(path: Path) -> None:
    content = path.read_bytes()
    start = content.index(Net(0).first.w.value.tobytes())
    for i in range(start, start + Net(0).first.w.value.nbytes):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        check_rejected(path)


def test_rejects_a_shape_made_smaller(path: Path) -> None:
    """The reader would then stop before the end of the data, where zipfile verifies the checksum."""
    content = path.read_bytes()
    assert content.count(b"'shape': (2, 5)") == 1
    path.write_bytes(content.replace(b"'shape': (2, 5)", b"'shape': (1, 5)"))
    with pytest.raises(CheckpointError, match=r"checksum of module\.first\.w\.npy is wrong"):
        read_checkpoint(path)


def test_rejects_files_that_are_not_checkpoints(path: Path) -> None:
    np.savez(path, w=np.ones(3))
    check_rejected(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "another"}).encode(), np.uint8))
    check_rejected(path, "format: expected .*, got 'another'")
    np.save(path.with_suffix(".npy"), np.ones(3))
    check_rejected(path.with_suffix(".npy"))
    path.write_text("not an archive")
    check_rejected(path)


def test_rejects_pickled_objects_without_executing_them(path: Path) -> None:
    executed = path.with_name("executed")

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(executed),)

    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "module.first.w": np.array([Trap()], object)})
    check_rejected(path)
    assert not executed.exists()


def test_rejects_a_module_with_different_names_or_shapes(path: Path) -> None:
    save_checkpoint(path, Linear(3, 2, np.random.default_rng(0)))
    check_rejected(path, "got another: module is Linear, not Net$")
    write_checkpoint(path, {"module": Linear(3, 2, np.random.default_rng(0)).state()}, {})
    check_rejected(path, r"first\.w of shape \(2, 5\) is missing.*w is unknown")
    write_checkpoint(path, {"module": {**Net(0).state(), "first.w": np.ones((3, 5))}}, {})
    check_rejected(path, r"first\.w: expected shape \(2, 5\), got \(3, 5\)")


Rng = np.random.Generator
OTHER_SETTINGS: dict[str, tuple[Callable[[Rng, Any], Module], list[Any], str]] = {
    "mask": (
        lambda rng, v: RealNVP((4,), rng, mask=v, hidden=3),
        ["half", "checkerboard"],
        "mask is 'half', not 'checkerboard'",
    ),
    "activation": (lambda rng, v: NICE((4,), rng, activation=v), [relu, tanh], "activation is relu, not tanh"),
    "dropout": (lambda rng, v: PixelCNN((2, 2, 1), 2, rng, dropout=v), [0.0, 0.5], r"dropout is 0\.0, not 0\.5"),
    "nested": (
        lambda rng, v: MAF(2, rng, transformer=AffineTransformer(v)),
        [5.0, 4.0],
        r"transformer\.bound is 5\.0, not 4\.0",
    ),
    "class": (lambda rng, v: Inverse(v()), [Squeeze, Logit], "bijection is Squeeze, not Logit"),
    "array": (lambda rng, v: Permute(np.array(v)), [[0, 1], [1, 0]], "crc32 .*, not int64"),
    "argument": (lambda rng, v: IAF(2, rng, **v), [{"random_orders": True}, {}], "random_orders is True, not missing"),
}


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_rejects_a_module_with_other_settings_and_the_same_shapes(name: str, tmp_path: Path) -> None:
    make, values, message = OTHER_SETTINGS[name]
    one, same, other = (make(np.random.default_rng(i), value) for i, value in enumerate((values[0], *values)))
    path, before = tmp_path / "model.npz", other.state()
    save_checkpoint(path, one)
    load_checkpoint(path, same)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, other)
    assert all(np.array_equal(value, before[key]) for key, value in other.state().items())


def test_arguments_of_equal_value_are_the_same(tmp_path: Path, rng: Rng) -> None:
    integer, number, other = (MAF(2, rng, hidden=(4,), transformer=AffineTransformer(bound)) for bound in (5, 5.0, 4))
    save_checkpoint(tmp_path / "maf.npz", integer)
    load_checkpoint(tmp_path / "maf.npz", number)
    with pytest.raises(CheckpointError, match=r"transformer\.bound is 5, not 4"):
        load_checkpoint(tmp_path / "maf.npz", other)


def test_fit_rejects_a_module_with_other_settings_and_the_same_shapes(tmp_path: Path) -> None:
    def run(mask: str) -> None:
        rng = np.random.default_rng(0)
        flow, x = RealNVP((4,), rng, mask=mask, hidden=3), np.ones((4, 4), np.float32)
        sgd = SGD(flow.parameters(), 0.1)
        run = tmp_path / "run.npz"
        fit(flow.loss, flow, x, optimizer=sgd, batch_size=4, steps=1, rng=rng, checkpoint=run, progress=False)

    run("half")
    run("half")
    with pytest.raises(CheckpointError, match="mask is 'half', not 'checkerboard'"):
        run("checkerboard")


def test_settings_that_only_one_version_has_are_ignored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = IAF(2, np.random.default_rng(0), layers=5)
    monkeypatch.setattr("tinygen.training.checkpoint.__version__", "0.0.1")
    save_checkpoint(path, IAF(2, np.random.default_rng(0)))
    monkeypatch.undo()
    load_checkpoint(path, flow)


def test_files_of_earlier_and_later_formats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, _ = read_checkpoint(path)
    old = {f"module.{name}": array for name, array in groups["module"].items()}
    text = json.dumps({"format": "tinygen checkpoint 1", "groups": ["module"]})
    np.savez(path, header=np.frombuffer(text.encode(), np.uint8), **old)  # type: ignore[arg-type]
    net = Net(1)
    load_checkpoint(path, net)
    assert np.array_equal(net.first.w.value, Net(0).first.w.value)
    monkeypatch.setattr("tinygen.training.checkpoint.FORMAT", 3)
    monkeypatch.setattr("tinygen.training.checkpoint.__version__", "9.0")
    save_checkpoint(path, net)
    monkeypatch.undo()
    check_rejected(path, r"written by tinygen 9\.0, which is newer than .*; update tinygen")


def test_does_not_save_or_load_nan(path: Path) -> None:
    net = Net(0)
    net.first.w.assign(np.full((2, 5), np.nan))
    with pytest.raises(ValueError, match=r"Net\.first\.w: expected numbers, got 10 entries that are NaN"):
        save_checkpoint(path, net)
    write_checkpoint(path, {"module": net.state()}, {})
    check_rejected(path, r"module\.first\.w: expected numbers, got 10 entries that are NaN")


def test_rejects_a_checkpoint_without_a_module(path: Path) -> None:
    write_checkpoint(path, {"optimizer": {"m": np.ones(3)}}, {})
    check_rejected(path, r"expected a module or a training run, got groups \['optimizer'\]")


def test_missing_file_raises_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.npz", Net(0))


names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=st.dictionaries(names, st.lists(st.floats(width=32), max_size=3)), note=st.integers())
def test_round_trip_with_any_names_and_values(tmp_path: Path, arrays: dict[str, list[float]], note: int) -> None:
    group = {name: np.array(values, np.float32) for name, values in arrays.items()}
    write_checkpoint(tmp_path / "any.npz", {"a": group, "b": {}}, {"note": note})
    groups, header = read_checkpoint(tmp_path / "any.npz")
    assert header["note"] == note
    assert groups["b"] == {}
    assert groups["a"].keys() == group.keys()
    assert all(np.array_equal(groups["a"][name], value, equal_nan=True) for name, value in group.items())


def test_names_ending_in_npy_are_distinguished(tmp_path: Path) -> None:
    group = {"w": np.zeros(2), "w.npy": np.ones(2), "w.npy.npy": np.full(2, 2.0)}
    for order in (list(group), list(group)[::-1]):
        write_checkpoint(tmp_path / "both.npz", {"a": {name: group[name] for name in order}}, {})
        groups, _ = read_checkpoint(tmp_path / "both.npz")
        assert {name: value[0] for name, value in groups["a"].items()} == {"w": 0, "w.npy": 1, "w.npy.npy": 2}


def test_fit_rejects_a_damaged_checkpoint_and_keeps_the_file(tmp_path: Path) -> None:
    train(tmp_path, 3, epochs=1)
    content = (tmp_path / "run.npz").read_bytes()
    (tmp_path / "run.npz").write_bytes(content[:-5])
    with pytest.raises(CheckpointError, match="not a complete tinygen checkpoint"):
        train(tmp_path, 3)
    assert (tmp_path / "run.npz").read_bytes() == content[:-5]
