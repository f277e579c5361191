"""A run that was broken off, anywhere and by anything, ends with the same bits as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import training_runs
from helpers.training_runs import BATCH, EXAMPLES, STEPS, Run, data, make_run, train

from tinygen.nn import Linear
from tinygen.optim import EMA, SGD, Adam, cosine
from tinygen.training import CheckpointError, load_checkpoint, save_checkpoint
from tinygen.training.checkpoint import read_checkpoint


class BrokenOffError(Exception):
    pass


def same(one: Run, other: Run) -> bool:
    left, right = one.everything(), other.everything()
    assert left.keys() == right.keys()
    return all(
        np.array_equal(left[k], right[k]) if isinstance(left[k], np.ndarray) else left[k] == right[k] for k in left
    )


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Python ignores Ctrl-C if a script started it in the background; these tests are about one that does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Run, str]]:
    runs = {}
    for every in (1, 2, 3, 4):
        folder = tmp_path_factory.mktemp("unbroken")
        runs[every] = train(folder, every), (folder / "run.jsonl").read_text()
    return runs


def check_resumed(folder: Path, every: int, unbroken: dict[int, tuple[Run, str]], **changes: Any) -> None:
    resumed = train(folder, every, **changes)
    assert same(resumed, unbroken[every][0])
    assert (folder / "run.jsonl").read_text() == unbroken[every][1]


def test_the_comparison_itself_can_fail(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    assert not same(unbroken[1][0], unbroken[3][0])
    assert not same(train(tmp_path, 1, run=make_run(1)), unbroken[1][0])


@pytest.mark.parametrize("every", [1, 2, 3, 4])
@pytest.mark.parametrize("call", range(STEPS))
def test_an_exception_at_any_step(call: int, every: int, unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    def break_off(now: int) -> None:
        if now == call:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        train(tmp_path, every, break_off)
    (tmp_path / "run.jsonl").write_text('{"step": 99, "ep')  # a history that is of no use
    check_resumed(tmp_path, every, unbroken)


def test_a_run_broken_off_again_and_again(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    def break_off(now: int) -> None:
        if now == 2:
            raise BrokenOffError

    for _ in range(4):
        with pytest.raises(BrokenOffError):
            train(tmp_path, 2, break_off)
    check_resumed(tmp_path, 2, unbroken)


def test_going_on_with_the_very_objects_of_the_broken_run(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    """As in a notebook: the module, the optimiser and the generator are those that have moved on already."""
    run = make_run()

    def break_off(now: int) -> None:
        if now == 5:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        train(tmp_path, 4, break_off, run=run)
    check_resumed(tmp_path, 4, unbroken, run=run)
    (tmp_path / "run.jsonl").unlink()
    check_resumed(tmp_path, 4, unbroken, run=run)  # and a run that is complete stays as it is


def test_a_validation_that_fails(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    def fail() -> float:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        train(tmp_path, 2, validate=fail)
    check_resumed(tmp_path, 2, unbroken)


@pytest.mark.parametrize("call", range(STEPS))
def test_ctrl_c_finishes_the_step_and_leaves_a_checkpoint(
    call: int, unbroken: dict[int, tuple[Run, str]], tmp_path: Path
) -> None:
    calls = []

    def interrupt(now: int) -> None:
        calls.append(now)
        if now == call:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 4, interrupt)
    assert calls == list(range(call + 1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    check_resumed(tmp_path, 4, unbroken, before=calls.append)
    assert len(calls) == STEPS  # no step was lost, none was taken twice


def test_after_ctrl_c_the_module_holds_the_last_parameters_and_nothing_else_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert "the best, is restored" in capsys.readouterr().err


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def interrupt(now: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still here")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 4, interrupt)


def test_outside_the_main_thread_signals_are_left_alone(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(train(tmp_path, 2)))
    thread.start()
    thread.join()
    assert same(runs[0], unbroken[2][0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
@pytest.mark.parametrize("call", [0, 4, 7])
def test_a_killed_process(call: int, unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
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
        process.kill()
    assert process.returncode == -signal.SIGKILL
    check_resumed(tmp_path, 2, unbroken)


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train(tmp_path / "a", 3, epochs=1)
    assert same(train(tmp_path / "a", 3), train(tmp_path / "b", 3))


def test_settings_may_be_numbers_of_numpy(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    numbers: Any = {"batch_size": np.int64(BATCH), "clip": np.float64(0.5)}
    train(tmp_path, 3, epochs=1, **numbers)
    check_resumed(tmp_path, 3, unbroken, **numbers)


@pytest.mark.parametrize("name", ["checkpoint", "history"])
def test_a_folder_that_is_not_there_is_told_at_once(name: str, tmp_path: Path) -> None:
    def never(call: int) -> None:
        raise AssertionError("a step was taken")

    with pytest.raises(ValueError, match=rf"{name}: expected a file in a folder that exists, got .*elsewhere"):
        train(tmp_path, 3, never, **{name: tmp_path / "elsewhere" / "run"})


def test_fewer_steps_than_there_were_are_refused(tmp_path: Path) -> None:
    train(tmp_path, 3)
    with pytest.raises(ValueError, match=rf"epochs, steps: .*run.npz has {STEPS} steps behind it, asked for are 3"):
        train(tmp_path, 3, epochs=1)
    with pytest.raises(ValueError, match="validate: expected a function that returns a number, got 3"):
        train(tmp_path, 3, validate=3)


def test_resume_false_starts_anew(unbroken: dict[int, tuple[Run, str]], tmp_path: Path) -> None:
    train(tmp_path, 2, steps=5, epochs=None)
    check_resumed(tmp_path, 2, unbroken, resume=False)


def other_data() -> tuple[Any, Any]:
    x, y = data()
    return x, y + np.float32(1e-7)


def without_bias(run: Run) -> dict[str, Any]:
    run.net.last = Linear(5, 1, run.rng, bias=False)
    return {"optimizer": Adam(run.net.parameters(), run.optimizer.lr), "ema": EMA(run.net.parameters(), 0.7)}


def other_constant(run: Run) -> dict[str, Any]:
    run.net.order = np.arange(3)
    return {}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda run: {"batch_size": BATCH + 1}, "batch_size is 5 here, 4 there"),
        (lambda run: {"shards": 2}, "shards is 2 here, 1 there"),
        (lambda run: {"clip": 1.0}, "clip is 1.0 here, 0.5 there"),
        (lambda run: {"ema": None}, "ema_decay is None here, 0.7 there"),
        (lambda run: {"ema": EMA(run.net.parameters(), 0.8)}, "ema_decay is 0.8"),
        (lambda run: {"optimizer": SGD(run.net.parameters(), 0.1)}, "optimizer is .*SGD.* here, .*Adam.* there"),
        (lambda run: {"optimizer": Adam(run.net.parameters(), 0.05)}, "lr is"),
        (lambda run: {"optimizer": Adam(run.net.parameters(), cosine(0.05, 2 * STEPS, 2)), "epochs": 6}, "lr is"),
        (lambda run: {"optimizer": Adam(run.net.parameters()[:2], run.optimizer.lr)}, "trained is"),
        (
            lambda run: {"optimizer": Adam(run.net.parameters(), run.optimizer.lr, (0.8, 0.999))},
            r"Adam\(beta1=0.8.* here",
        ),
        (lambda run: {"rng": np.random.default_rng(1)}, r"seed is \[1, \[\]\] here, \[0, \[\]\] there"),
        (lambda run: {"rng": np.random.Generator(np.random.Philox(0))}, "generator is Philox"),
        (without_bias, "parameters is"),
        (other_constant, r"order: expected shape \(3,\), got \(2,\)"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused_and_changes_nothing(
    make: Any, said: str, tmp_path: Path
) -> None:
    train(tmp_path, 3, epochs=1)
    content = (tmp_path / "run.npz").read_bytes()
    run = make_run()
    changes = make(run)
    before = run.everything()
    with pytest.raises(CheckpointError, match=said):
        train(tmp_path, 3, run=run, **changes)
    assert all(np.array_equal(value, run.everything()[name]) for name, value in before.items() if name != "rng")
    assert before["rng"] == run.everything()["rng"]
    assert (tmp_path / "run.npz").read_bytes() == content


def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, 3, epochs=1)
    monkeypatch.setattr("helpers.training_runs.data", other_data)
    with pytest.raises(CheckpointError, match=rf"data is .*\({EXAMPLES}, 1\) crc32"):
        train(tmp_path, 3)


def test_a_module_alone_is_no_training_run(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run.npz", make_run().net)
    with pytest.raises(CheckpointError, match="a module alone"):
        train(tmp_path, 3)


@pytest.mark.parametrize("changes", [{}, {"validate": None}, {"validate": None, "ema": None}, {"ema": None}])
def test_load_checkpoint_restores_what_fit_left_in_the_module(changes: dict[str, Any], tmp_path: Path) -> None:
    left = train(tmp_path, 2, **changes).net.state()
    net = make_run(1).net
    load_checkpoint(tmp_path / "run.npz", net)
    assert all(np.array_equal(value, left[name]) for name, value in net.state().items())


def test_averages_go_on_from_a_shorter_run_that_was_not_validated(tmp_path: Path) -> None:
    """What a checkpoint keeps for load_checkpoint are averages here, no best that later ones have to beat."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train(tmp_path / "a", 3, epochs=1, validate=None)
    assert same(train(tmp_path / "a", 3, validate=None), train(tmp_path / "b", 3, validate=None))
