"""Callbacks of `fit`: what they receive, early stopping also of resumed runs, and the files that they write."""

from __future__ import annotations

import csv
import math
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import STEPS, TrainingRun, data, make_run, train

from tinygen import plot
from tinygen.autograd.grad_mode import is_grad_enabled
from tinygen.models import MADE
from tinygen.optim import SGD, Adam
from tinygen.training import CSVLog, EarlyStopping, Event, History, NonFiniteError, Record, SampleGrid, TensorBoard, fit


def test_callbacks_receive_every_record(tmp_path: Path) -> None:
    events: list[Event] = []
    states: list[dict[str, Any]] = []
    run = make_run()

    def watch(event: Event) -> None:
        assert not is_grad_enabled()
        events.append(event)
        states.append(event.module.state())

    train(tmp_path, 4, run=run, on_record=[watch, lambda event: None])
    assert run.history is not None
    assert [event.record for event in events] == run.history.records
    assert [event.record.step for event in events] == [4, 8, STEPS]
    assert all(event.module is run.net and event.history == run.history for event in events)
    assert all(event.record.lr == (run.optimizer.lr(event.record.step - 1),) for event in events)
    assert all(event.seconds > 0 and event.examples_per_second > 0 for event in events)
    # The parameters are the averages, which are those that were validated: here the first ones are the best.
    assert all(np.array_equal(value, run.net.state()[name]) for name, value in states[0].items())


@pytest.mark.parametrize("result", [0, 1, "stop", 0.5, []])
def test_callback_that_returns_neither_a_bool_nor_none_is_an_error(result: Any, tmp_path: Path) -> None:
    """Such as a lambda that returns what `list.append` or `file.write` does: it would end the run."""
    with pytest.raises(ValueError, match="on_record: expected a function that returns True, False or None, got one"):
        train(tmp_path, 4, on_record=lambda event: result)


def test_gradient_norm_is_that_of_the_last_step_before_clipping(tmp_path: Path) -> None:
    run, other = make_run(), make_run()
    for each, clip in ((run, None), (other, 1e9)):
        (tmp_path / str(clip)).mkdir()
        train(tmp_path / str(clip), 4, run=each, clip=clip)
    assert run.history is not None
    assert other.history is not None
    for one, two in zip(run.history.records, other.history.records, strict=True):
        assert one.gradient_norm == pytest.approx(two.gradient_norm, rel=1e-6)  # sums in another order
        assert replace(one, gradient_norm=None) == replace(two, gradient_norm=None)
    layer, x = make_run().net.first, np.ones((4, 2), np.float32)
    loss = lambda x, rng: (layer.w * np.float32(3)).sum()  # a gradient of 3 for each of 10 parameters
    history = fit(
        loss, layer, x, optimizer=SGD([layer.w], 0.1), batch_size=4, steps=1, rng=np.random.default_rng(0), clip=0.1,
        progress=False,
    )  # fmt: skip
    assert history.records[0].gradient_norm == pytest.approx(3 * math.sqrt(10))


def test_records_have_the_losses_of_all_players(tmp_path: Path) -> None:
    run = make_run()
    players: dict[str, Any] = {
        "loss": [run.net.loss, lambda x, y, rng: 2 * run.net.loss(x, y)],
        "optimizer": [SGD([run.net.first.w], 0.0 + 1e-12), SGD([run.net.last.w], 1e-12)],
    }
    train(tmp_path, 3, run=run, turns=[0, 1, 1], steps=4, epochs=None, batch_size=10, **players)
    assert run.history is not None
    first, last = run.history.records
    assert first.losses[0] == first.loss
    assert first.losses[1] == pytest.approx(2 * run.net.loss(*data()).item(), rel=1e-6)
    assert last.losses == (last.loss, None)
    assert first.lr == (1e-12, 1e-12)


def stopping_run(folder: Path, patience: int, steps: int = STEPS) -> TrainingRun:
    """The best result is that of step 2."""
    run = make_run()
    validate = lambda: abs(run.optimizer.steps - 2.0)
    return train(folder, 1, run=run, validate=validate, on_record=EarlyStopping(patience), steps=steps, epochs=None)


def test_early_stopping_keeps_the_best_and_a_resumed_run_stays_stopped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for _ in range(2):
        run = stopping_run(tmp_path / "a", 3)
        assert run.history is not None
        assert [record.step for record in run.history.records] == [1, 2, 3, 4, 5]
    whole = stopping_run(tmp_path / "b", 5)
    more_patient = stopping_run(tmp_path / "a", 5)
    assert more_patient.history == whole.history
    assert all(np.array_equal(value, whole.net.state()[name]) for name, value in more_patient.net.state().items())


def test_without_validation_early_stopping_never_stops(tmp_path: Path) -> None:
    history = train(tmp_path, 1, validate=None, on_record=EarlyStopping(1)).history
    assert history is not None
    assert len(history.records) == STEPS


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_early_stopping_stops_if_no_result_is_finite(value: float, tmp_path: Path) -> None:
    results: list[float] = []

    def validate() -> float:
        results.append(value)
        return value

    with pytest.raises(NonFiniteError, match=r"validate: expected a finite number at least once"):
        train(tmp_path, 1, validate=validate, on_record=EarlyStopping(3))
    assert len(results) == 3


def test_csv_has_one_row_per_record_after_resuming_too(tmp_path: Path) -> None:
    for steps in (5, STEPS):
        train(tmp_path, 4, steps=steps, epochs=None, on_record=CSVLog(tmp_path / "log.csv"))
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["4", "8", "9"]
    assert list(rows[0]) == ["step", "epoch", "loss", "valid", "lr.0", "gradient_norm"]
    assert all(float(value) >= 0 for row in rows for value in row.values())


def test_tensorboard_receives_all_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    folders: list[str] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            folders.append(folder)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    module: Any = types.ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    board = TensorBoard(tmp_path / "board")
    assert not folders  # the ranks of MPI that do not call it must not create a file
    train(tmp_path, 4, on_record=board)
    assert folders == [str(tmp_path / "board")]
    names = {"step", "epoch", "loss", "valid", "lr.0", "gradient_norm", "seconds", "examples_per_second"}
    assert {name for name, _, _ in written} == names
    assert {step for _, _, step in written} == {4, 8, 9}
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="TensorBoard needs tensorboardX"):
        TensorBoard(tmp_path)


def test_sample_grid_writes_a_picture_and_does_not_change_the_run(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 2, (8, 3, 3, 1))

    def run(callbacks: list[Any]) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        model = MADE((3, 3, 1), 2, rng, hidden=(4,))
        fit(
            model.loss, model, images, optimizer=Adam(model.parameters()), batch_size=4, steps=3, rng=rng, every=1,
            on_record=callbacks, progress=False,
        )  # fmt: skip
        return model.state()

    with_grid, without = run([SampleGrid(tmp_path / "grid.png", n=4)]), run([])
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert all(np.array_equal(value, without[name]) for name, value in with_grid.items())


@pytest.mark.parametrize(("levels", "classes"), [(4, 0), (2, 3), (4, 3)])
def test_sample_grid_has_the_levels_and_classes_of_the_model(levels: int, classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = MADE((3, 3, 1), levels, rng, hidden=(4,), classes=classes)
    event = Event(Record(1, 1.0, 0.0, None), History("nats"), model, 1.0, 1.0)
    SampleGrid(tmp_path / "grid.png", n=6)(event)
    images = model.sample(6, np.random.default_rng(0), np.arange(6) // 2 if classes else None)
    plot.save(plot.sample_grid(images, levels=levels, title="step 1"), tmp_path / "expected.png")
    assert (tmp_path / "grid.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_early_stopping_rejects_patience_below_one() -> None:
    with pytest.raises(ValueError, match="patience: expected at least 1, got 0"):
        EarlyStopping(0)


def test_files_are_checked_when_a_callback_is_made(tmp_path: Path) -> None:
    for make, suffix in ((CSVLog, "csv"), (SampleGrid, "png")):
        (tmp_path / f"folder.{suffix}").mkdir()
        for path in (tmp_path / f"missing/a.{suffix}", tmp_path / f"folder.{suffix}", tmp_path / "a.pdf"):
            with pytest.raises(ValueError, match=rf"path: expected a \.{suffix} file in a folder that exists, got"):
                make(path)
        with pytest.raises(TypeError, match="path: expected a string or a Path, got 3"):
            make(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        SampleGrid(tmp_path / "a.png", n=0)


@pytest.mark.parametrize(("batch_size", "every"), [(1000, 2), (4, 3), (10, 1)])
def test_examples_per_second_counts_smaller_minibatches(batch_size: int, every: int) -> None:
    events: list[Event] = []
    layer, seen = make_run().net.first, [0]

    def loss(x: Any, rng: Any) -> Any:
        seen[0] += len(x)
        return (layer(x) ** 2).mean()

    fit(
        loss, layer, np.ones((10, 2), np.float32), optimizer=SGD(layer.parameters(), 0.1), batch_size=batch_size,
        epochs=3, every=every, on_record=[events.append, lambda event: None], rng=np.random.default_rng(0),
        progress=False,
    )  # fmt: skip
    earlier = [0.0, *(event.seconds for event in events)]
    total = sum(e.examples_per_second * (e.seconds - before) for e, before in zip(events, earlier, strict=False))
    assert round(total) == seen[0] == 30
