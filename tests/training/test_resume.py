"""Exact resume: a resumed run ends bitwise equal to an uninterrupted one, wherever and however it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import training_runs
from helpers.training_runs import BATCH, EXAMPLES, STEPS, TrainingRun, data, make_run, train

from tinygen import get_num_threads, set_num_threads
from tinygen.autograd import Array, Tensor
from tinygen.models import GatedPixelCNN
from tinygen.nn import Linear, Module, Sequential
from tinygen.optim import EMA, SGD, Adam, cosine
from tinygen.training import CheckpointError, fit, load_checkpoint, save_checkpoint
from tinygen.training.checkpoint import read_checkpoint, write_checkpoint

Results = dict[int, tuple[TrainingRun, str]]  # interval of the records -> the run and the content of its history file


class StopError(Exception):
    pass


def same(one: TrainingRun, other: TrainingRun) -> bool:
    """Return whether two runs have bitwise equal states and equal histories."""
    left, right = one.everything(), other.everything()
    assert left.keys() == right.keys()
    return all(
        np.array_equal(left[k], right[k]) if isinstance(left[k], np.ndarray) else left[k] == right[k] for k in left
    )


@pytest.fixture(autouse=True)
def default_interrupt_handler() -> Iterator[None]:
    """Install the default SIGINT handler, which is missing if a shell started Python in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Results:
    runs = {}
    for every in (1, 2, 3, 4):
        folder = tmp_path_factory.mktemp("uninterrupted")
        runs[every] = train(folder, every), (folder / "run.jsonl").read_text()
    return runs


def check_resumed(folder: Path, every: int, uninterrupted: Results, **changes: Any) -> None:
    resumed = train(folder, every, **changes)
    assert same(resumed, uninterrupted[every][0])
    assert (folder / "run.jsonl").read_text() == uninterrupted[every][1]


def test_same_detects_different_runs(uninterrupted: Results, tmp_path: Path) -> None:
    assert not same(uninterrupted[1][0], uninterrupted[3][0])
    assert not same(train(tmp_path, 1, run=make_run(1)), uninterrupted[1][0])


@pytest.mark.parametrize("every", [1, 2, 3, 4])
@pytest.mark.parametrize("call", range(STEPS))
def test_resumes_after_an_exception_at_any_step(call: int, every: int, uninterrupted: Results, tmp_path: Path) -> None:
    def stop(now: int) -> None:
        if now == call:
            raise StopError

    with pytest.raises(StopError):
        train(tmp_path, every, stop)
    (tmp_path / "run.jsonl").write_text('{"step": 99, "ep')  # an incomplete history file
    check_resumed(tmp_path, every, uninterrupted)


def test_resumes_after_repeated_exceptions(uninterrupted: Results, tmp_path: Path) -> None:
    def stop(now: int) -> None:
        if now == 2:
            raise StopError

    for _ in range(4):
        with pytest.raises(StopError):
            train(tmp_path, 2, stop)
    check_resumed(tmp_path, 2, uninterrupted)


def test_resumes_with_the_objects_of_the_interrupted_run(uninterrupted: Results, tmp_path: Path) -> None:
    """As in a notebook, where the module, the optimiser and the generator have already changed."""
    run = make_run()

    def stop(now: int) -> None:
        if now == 5:
            raise StopError

    with pytest.raises(StopError):
        train(tmp_path, 4, stop, run=run)
    check_resumed(tmp_path, 4, uninterrupted, run=run)
    (tmp_path / "run.jsonl").unlink()
    check_resumed(tmp_path, 4, uninterrupted, run=run)  # resuming a complete run changes nothing


def test_resumes_after_an_exception_in_validation(uninterrupted: Results, tmp_path: Path) -> None:
    def fail() -> float:
        raise StopError

    with pytest.raises(StopError):
        train(tmp_path, 2, validate=fail)
    check_resumed(tmp_path, 2, uninterrupted)


@pytest.mark.parametrize("call", range(STEPS))
def test_ctrl_c_completes_the_step_and_writes_a_checkpoint(call: int, uninterrupted: Results, tmp_path: Path) -> None:
    calls = []

    def interrupt(now: int) -> None:
        calls.append(now)
        if now == call:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 4, interrupt)
    assert calls == list(range(call + 1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    check_resumed(tmp_path, 4, uninterrupted, before=calls.append)
    assert len(calls) == STEPS  # no step was lost or repeated


def test_module_has_the_last_parameters_after_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, step = make_run(), 7
    with pytest.raises(KeyboardInterrupt):
        train(
            tmp_path,
            1,
            lambda now: os.kill(os.getpid(), signal.SIGINT) if now == step else None,
            run=run,
            progress=True,
        )
    assert "restored" not in capsys.readouterr().err
    last, best = read_checkpoint(tmp_path / "run.npz")[0]["module"], make_run(1).net
    assert all(np.array_equal(value, last[name]) for name, value in run.net.state().items())
    load_checkpoint(tmp_path / "run.npz", best)
    assert not np.array_equal(best.last.w.value, last["last.w"])
    train(tmp_path, 1, progress=True)
    assert "restored the best" in capsys.readouterr().err


def test_second_ctrl_c_interrupts_at_once(tmp_path: Path) -> None:
    def interrupt(now: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not interrupted")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 4, interrupt)


def test_trains_outside_the_main_thread(uninterrupted: Results, tmp_path: Path) -> None:
    runs: list[TrainingRun] = []
    thread = threading.Thread(target=lambda: runs.append(train(tmp_path, 2)))
    thread.start()
    thread.join()
    assert same(runs[0], uninterrupted[2][0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("call", "delay"), [(0, 0.0), (4, 0.001), (5, 0.002), (7, 0.004)])
def test_resumes_after_the_process_is_killed(call: int, delay: float, uninterrupted: Results, tmp_path: Path) -> None:
    """With a delay, the process is killed in or after the next step, or while it writes the checkpoint after it."""
    program = training_runs.__file__
    process = subprocess.Popen(
        [sys.executable, program, str(tmp_path), "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(call):
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline() == f"{call}\n"
        if delay:
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(delay)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    check_resumed(tmp_path, 2, uninterrupted)
    assert {path.name for path in tmp_path.iterdir()} == {"run.npz", "run.jsonl"}  # no partial files


def train_with(variant: str, folder: Path, every: int, steps: int) -> TrainingRun:
    """Train with one of the ways in which the record at the end of a run could change a longer run."""
    run = make_run()
    variants: dict[str, dict[str, Any]] = {
        "the first record is the best": {"validate": lambda: float(run.optimizer.steps)},
        "the last record is the best": {"validate": lambda: -float(run.optimizer.steps)},
        "validation draws random numbers": {"validate": lambda: run.rng.random()},
        "every result is the same": {"validate": lambda: 1.0},
        "no validation": {"validate": None},
        "no averages": {"ema": None},
        "neither": {"validate": None, "ema": None},
        "two players": {"turns": [0, 1]},
    }
    changes = variants[variant]
    if variant == "two players":
        optimizers = [SGD([part.w], 0.1) for part in (run.net.first, run.net.last)]
        changes |= {"optimizer": optimizers, "loss": [run.net.loss] * 2}
    return train(folder, every, run=run, steps=steps, epochs=None, **changes)


@pytest.mark.parametrize("every", [2, 4, 20])
@pytest.mark.parametrize(
    "variant",
    [
        "the first record is the best",
        "the last record is the best",
        "validation draws random numbers",
        "every result is the same",
        "no validation",
        "no averages",
        "neither",
        "two players",
    ],
)
def test_extending_a_run_gives_the_longer_run(variant: str, every: int, tmp_path: Path) -> None:
    """Although most of the shorter runs end with a record that the longer run does not have."""
    for steps in (1, 3, 4, 5, 8, STEPS):
        (tmp_path / f"whole{steps}").mkdir()
        whole = train_with(variant, tmp_path / f"whole{steps}", every, steps)
        extended = train_with(variant, tmp_path, every, steps)
        assert same(extended, whole)
        assert (tmp_path / "run.jsonl").read_text() == (tmp_path / f"whole{steps}" / "run.jsonl").read_text()
        again = train_with(variant, tmp_path, every, steps)  # a complete run is not changed
        assert same(again, whole)


def test_extending_after_a_smaller_record_interval_keeps_the_record(tmp_path: Path) -> None:
    train(tmp_path, 4, steps=6, epochs=None)
    history = train(tmp_path, 3).history
    assert history is not None
    assert [record.step for record in history.records] == [4, 6, 9]


@pytest.mark.parametrize("shards", [1, 3])
def test_resumes_with_another_number_of_threads(shards: int, tmp_path: Path) -> None:
    """Results depend on the number of shards, which the checkpoint has, but not on the number of threads."""
    images = np.random.default_rng(0).integers(0, 2, (64, 16, 16, 1))

    def run(name: str, threads: int, steps: int) -> dict[str, Any]:
        set_num_threads(threads)
        rng = np.random.default_rng(0)
        model = GatedPixelCNN((16, 16, 1), 2, rng, channels=16, layers=2)
        fit(
            model.loss, model, images, optimizer=Adam(model.parameters()), batch_size=32, rng=rng, steps=steps,
            shards=shards, checkpoint=tmp_path / name, progress=False,
        )  # fmt: skip
        return model.state()

    before = get_num_threads()
    try:
        run("resumed.npz", 1, 2)
        resumed, whole = run("resumed.npz", 4, 4), run("whole.npz", 1, 4)
    finally:
        set_num_threads(before)
    assert all(np.array_equal(value, whole[name]) for name, value in resumed.items())


def test_resumes_with_numpy_numbers_as_settings(uninterrupted: Results, tmp_path: Path) -> None:
    numbers: Any = {"batch_size": np.int64(BATCH), "clip": np.float64(0.5)}
    train(tmp_path, 3, epochs=1, **numbers)
    check_resumed(tmp_path, 3, uninterrupted, **numbers)


def test_resumes_if_the_module_was_converted_after_the_optimizer_was_made(tmp_path: Path) -> None:
    def run(steps: int, name: str) -> TrainingRun:
        made = make_run()
        made.net.astype(np.float64)
        return train(tmp_path / name, 1, run=made, steps=steps, epochs=None)

    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    run(2, "two")
    assert same(run(5, "two"), run(5, "one"))


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("optimizer0", "steps", -1), ("optimizer0", "v.0", np.inf), ("optimizer0", "v.0", -1), ("ema", "0", np.inf)],
)
def test_rejects_impossible_numbers_and_changes_nothing(group: str, name: str, value: float, tmp_path: Path) -> None:
    train(tmp_path, 1, steps=2, epochs=None)
    groups, header = read_checkpoint(tmp_path / "run.npz")
    groups[group][name] = np.full_like(groups[group][name], value)
    del header["arrays"]  # the checksums
    write_checkpoint(tmp_path / "run.npz", groups, header)
    run = make_run()
    before = run.net.state()
    with pytest.raises(CheckpointError, match=rf"run\.npz: .*{name}: expected"):
        train(tmp_path, 1, run=run, steps=3, epochs=None)
    assert all(np.array_equal(array, before[key]) for key, array in run.net.state().items())


def test_rejects_fewer_steps_than_the_checkpoint_has(tmp_path: Path) -> None:
    train(tmp_path, 3)
    run, unchanged = make_run(), make_run()
    message = rf"run\.npz: epochs, steps: expected at least the {STEPS} steps of the checkpoint, got 3; .*resume=False"
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, 3, run=run, epochs=1)
    assert same(run, unchanged)


def test_resume_false_starts_from_the_beginning(uninterrupted: Results, tmp_path: Path) -> None:
    train(tmp_path, 2, steps=5, epochs=None)
    check_resumed(tmp_path, 2, uninterrupted, resume=False)


def other_data() -> tuple[Any, Any]:
    x, y = data()
    return x, y + np.float32(1e-7)


def without_bias(run: TrainingRun) -> dict[str, Any]:
    run.net.last = Linear(5, 1, run.rng, bias=False)
    return {"optimizer": Adam(run.net.parameters(), run.optimizer.lr), "ema": EMA(run.net.parameters(), 0.7)}


def other_constant(run: TrainingRun) -> dict[str, Any]:
    run.net.order = np.arange(3)
    return {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: {"batch_size": BATCH + 1}, "batch_size is 4, not 5"),
        (lambda run: {"shards": 2}, "shards is 1, not 2"),
        (lambda run: {"clip": 1.0}, "clip is 0.5, not 1.0"),
        (lambda run: {"ema": None}, "ema_decay is 0.7, not None"),
        (lambda run: {"ema": EMA(run.net.parameters(), 0.8)}, "ema_decay is 0.7, not 0.8"),
        (lambda run: {"optimizer": SGD(run.net.parameters(), 0.1)}, "optimizer is .*Adam.*, not .*SGD"),
        (lambda run: {"optimizer": Adam(run.net.parameters(), 0.05)}, "lr is"),
        (lambda run: {"optimizer": Adam(run.net.parameters(), cosine(0.05, 2 * STEPS, 2)), "epochs": 6}, "lr is"),
        (lambda run: {"optimizer": Adam(run.net.parameters()[:2], run.optimizer.lr)}, "trained is"),
        (
            lambda run: {"optimizer": Adam(run.net.parameters(), run.optimizer.lr, (0.8, 0.999))},
            r"not .*Adam\(beta1=0.8",
        ),
        (lambda run: {"rng": np.random.default_rng(1)}, r"seed is \[0, \[\]\], not \[1, \[\]\]"),
        (lambda run: {"rng": np.random.Generator(np.random.Philox(0))}, "generator is PCG64, not Philox"),
        (without_bias, "parameters is"),
        (other_constant, r"order: expected shape \(3,\), got \(2,\)"),
    ],
)
def test_rejects_a_different_configuration_and_changes_nothing(make: Any, message: str, tmp_path: Path) -> None:
    train(tmp_path, 3, epochs=1)
    content = (tmp_path / "run.npz").read_bytes()
    run = make_run()
    changes = make(run)
    before = run.everything()
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, 3, run=run, **changes)
    assert all(np.array_equal(value, run.everything()[name]) for name, value in before.items() if name != "rng")
    assert before["rng"] == run.everything()["rng"]
    assert (tmp_path / "run.npz").read_bytes() == content


def train_with_loss(folder: Path, make: Callable[[Callable[..., Tensor]], Callable[..., Tensor]]) -> TrainingRun:
    run = make_run()

    def loss(x: Array, y: Array, *, rng: np.random.Generator, beta: float = 1.0) -> Tensor:
        return beta * run.net.loss(x, y, rng=rng)

    return train(folder, 3, run=run, loss=make(loss))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda loss: partial(loss, beta=1.0), r"loss0\.beta is 0\.5, not 1\.0"),
        (lambda loss: partial(loss, beta=np.full(1, 0.5)), r"loss0\.beta is 0\.5, not float64 \(1,\) crc32"),
        (lambda loss: loss, r"loss0\.beta is 0\.5, not 1\.0"),
    ],
)
def test_rejects_other_arguments_of_a_loss(other: Any, message: str, tmp_path: Path) -> None:
    def half(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return partial(loss, beta=0.5)

    first, path = train_with_loss(tmp_path, half), tmp_path / "run.npz"
    assert same(train_with_loss(tmp_path, half), first)
    with pytest.raises(CheckpointError, match=message):
        train_with_loss(tmp_path, other)
    groups, header = read_checkpoint(path)
    assert header["configuration"].pop("loss") == {"loss0.beta": "0.5"}
    write_checkpoint(path, groups, header)  # as of an earlier version
    assert same(train_with_loss(tmp_path, other), first)


def test_rejects_different_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, 3, epochs=1)
    monkeypatch.setattr("helpers.training_runs.data", other_data)
    with pytest.raises(CheckpointError, match=rf"data is .*\({EXAMPLES}, 1\) crc32"):
        train(tmp_path, 3)


def test_rejects_the_checkpoint_of_a_module(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run.npz", make_run().net)
    with pytest.raises(CheckpointError, match="expected a training run, got a module"):
        train(tmp_path, 3)


@pytest.mark.parametrize("changes", [{}, {"validate": None}, {"validate": None, "ema": None}, {"ema": None}])
def test_load_checkpoint_restores_the_result_of_fit(changes: dict[str, Any], tmp_path: Path) -> None:
    result = train(tmp_path, 2, **changes).net.state()
    net = make_run(1).net
    load_checkpoint(tmp_path / "run.npz", net)
    assert all(np.array_equal(value, result[name]) for name, value in net.state().items())


def test_averages_are_updated_after_resuming_without_validation(tmp_path: Path) -> None:
    """Without validation, the averages in the checkpoint must not be treated as the best result."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train(tmp_path / "a", 3, epochs=1, validate=None)
    assert same(train(tmp_path / "a", 3, validate=None), train(tmp_path / "b", 3, validate=None))


class Centred(Module):
    """A module that is initialised by its first minibatch, and counts its calls."""

    def __init__(self) -> None:
        self.layer = Linear(2, 1, np.random.default_rng(0))
        self.shift, self.ready, self.calls = np.zeros(2, np.float32), False, 0

    def loss(self, x: Array, *, rng: np.random.Generator) -> Tensor:
        self.calls += 1
        if not self.ready:
            self.shift, self.ready = x.mean(0), True
        return ((self.layer(x - self.shift) - x[:, :1]) ** 2).mean() / self.calls


def test_numbers_that_a_module_changes_are_restored(tmp_path: Path) -> None:
    def run(steps: int, module: Centred, path: Path) -> Centred:
        x = np.random.default_rng(1).normal(3, 1, (10, 2)).astype(np.float32)
        fit(
            module.loss, module, x, optimizer=SGD(module.parameters(), 0.05), batch_size=3, steps=steps,
            rng=np.random.default_rng(2), checkpoint=path, every=2, progress=False,
        )  # fmt: skip
        return module

    whole, other = run(13, Centred(), tmp_path / "whole.npz"), tmp_path / "parts.npz"
    run(7, Centred(), other)
    parts = run(13, Centred(), other)
    loaded = Centred()
    load_checkpoint(other, loaded)
    for module in (parts, loaded):
        assert (module.ready, module.calls) == (True, 13) == (whole.ready, whole.calls)
        assert all(np.array_equal(value, whole.state()[name]) for name, value in module.state().items())


def test_ctrl_c_in_validation_does_not_count_the_draws_of_callbacks_twice(tmp_path: Path) -> None:
    def run(steps: int, folder: Path, interrupted_at: int) -> TrainingRun:
        folder.mkdir(exist_ok=True)
        run, calls = make_run(), iter(range(1, 100))

        def validate() -> float:
            if next(calls) == interrupted_at:
                signal.raise_signal(signal.SIGINT)
            return 0.0

        train(
            folder, 3, run=run, epochs=steps, validate=validate,
            on_record=lambda event: run.rng.normal() > 1e9,
        )  # fmt: skip
        return run

    with pytest.raises(KeyboardInterrupt):
        run(3, tmp_path / "parts", 2)
    assert same(run(3, tmp_path / "parts", 0), run(3, tmp_path / "whole", 0))


def test_a_schedule_may_end_with_the_run(tmp_path: Path) -> None:
    def run(steps: int, rates: list[float]) -> None:
        layer = Linear(2, 1, np.random.default_rng(0))
        fit(
            lambda x, rng: (layer(x) ** 2).mean(), layer, np.ones((4, 2), np.float32), batch_size=4, steps=steps,
            optimizer=SGD(layer.parameters(), lambda step: rates[step]), rng=np.random.default_rng(0),
            checkpoint=tmp_path / "run.npz", progress=False,
        )  # fmt: skip

    run(5, [0.1] * 5)
    run(20, [0.1] * 20)
    with pytest.raises(CheckpointError, match="lr is"):
        run(30, [0.2] * 30)


def test_another_number_of_players_is_named(tmp_path: Path) -> None:
    def run(players: int) -> None:
        layers = [Linear(2, 1, np.random.default_rng(0)) for _ in range(2)]
        fit(
            [lambda x, rng, layer=layer: (layer(x) ** 2).mean() for layer in layers[:players]],
            Sequential(*layers), np.ones((4, 2), np.float32), batch_size=4, steps=2 * players,
            optimizer=[SGD(layer.parameters(), 0.1) for layer in layers[:players]], rng=np.random.default_rng(0),
            checkpoint=tmp_path / "run.npz", progress=False,
        )  # fmt: skip

    run(1)
    with pytest.raises(CheckpointError, match=r"got a different one: .*trained is"):
        run(2)


def test_a_run_keeps_the_shards_that_an_earlier_version_has_chosen(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"

    def run(steps: int, **options: Any) -> None:
        layer = Linear(2, 1, np.random.default_rng(0))
        fit(
            lambda x, rng: (layer(x) ** 2).mean(), layer, np.ones((4, 2), np.float32), batch_size=4, steps=steps,
            optimizer=SGD(layer.parameters(), 0.1), rng=np.random.default_rng(0), checkpoint=path, progress=False,
            **options,
        )  # fmt: skip

    run(2, shards=2)
    run(3)
    assert read_checkpoint(path)[1]["configuration"]["shards"] == 2
    with pytest.raises(CheckpointError, match="shards is 2, not 1"):
        run(4, shards=1)
