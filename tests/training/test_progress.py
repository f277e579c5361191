"""The progress of `fit`: a bar in a terminal, otherwise one line per record; one line at Ctrl-C and at resumption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.training_runs import STEPS, train

from tinygen.training import Interrupted

PROGRAM = """
import sys
import numpy as np
from tinygen.autograd import Parameter
from tinygen.nn import Module
from tinygen.optim import SGD
from tinygen.training import fit

class Quadratic(Module):
    def __init__(self):
        self.w = Parameter(np.ones(3))

    def loss(self, x, rng):
        print(flush=True)  # a step has started
        return (self.w * self.w).mean()

model, steps = Quadratic(), int(sys.argv[2])
rng = np.random.default_rng(0)
fit(model.loss, model, np.zeros((8, 1)), optimizer=SGD(model.parameters(), 1e-9), batch_size=4, steps=steps,
    rng=rng, every=10**6, checkpoint=sys.argv[1] or None)
"""


def interrupt(checkpoint: str) -> subprocess.CompletedProcess[str]:
    """Run the program and send it SIGINT after a few steps."""
    command = [sys.executable, "-c", PROGRAM, checkpoint, "1000000"]
    # A shell may have started pytest in the background, where SIGINT is ignored.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_ctrl_c_ends_a_program_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "run.npz")
    first = interrupt(path)
    (line,) = first.stderr.splitlines()
    start, _, rest = line.partition(" of 1000000, ")
    assert start.startswith("interrupted at step ")
    assert rest == f"saved to {path}; run the same command to go on"
    assert first.returncode != 0
    step = int(start.split()[-1])
    assert interrupt(path).stderr.splitlines()[0] == f"resumed at step {step} of 1000000 from {path}"


def test_ctrl_c_without_a_checkpoint_says_that_nothing_is_saved() -> None:
    assert interrupt("").stderr.splitlines()[0].endswith("of 1000000, not saved")


def test_interrupted_is_a_keyboard_interrupt_with_the_same_message(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            train(tmp_path, 4, lambda call: os.kill(os.getpid(), signal.SIGINT) if call == 5 else None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert type(caught.value) is Interrupted
    assert str(caught.value).startswith(f"interrupted at step 6 of {STEPS}, saved to ")


def test_one_line_per_record_where_stderr_is_not_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, 4, progress=True, unit="nats per image")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == ["step 4/9", "step 8/9", "step 9/9"]
    assert all(line.endswith("nats per image") for line in lines[:-1])
    assert lines[-1].startswith("restored the best, ")
    train(tmp_path, 4, progress=True)
    assert capsys.readouterr().err.splitlines()[0] == f"resumed at step 9 of 9 from {tmp_path / 'run.npz'}"


def test_progress_false_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, 4)
    train(tmp_path, 4)
    assert capsys.readouterr().err == ""


def test_bar_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(tmp_path, 3, progress=True, unit="nats per image")
    shown = capsys.readouterr().err
    assert f"{STEPS}/{STEPS}" in shown
    assert "nats per image at step" in shown
    assert "step 3/9" not in shown


def test_lines_without_tqdm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    train(tmp_path, 4, progress=True)
    assert capsys.readouterr().err.startswith("step 4/9: ")
