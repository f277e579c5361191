"""An interrupted example goes on where it stopped, and its results are those of an uninterrupted run."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common.arguments import parse_arguments
from common.claims import Effect
from common.figures import plot_validation_curves
from common.report import Report
from common.storage import fingerprint, load
from common.training import Training

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = '''"""Claim: a linear layer learns."""

import os
import signal

import numpy as np
from common.claims import Effect
from common.study import study
from tinygen import plot
from tinygen.nn import Linear
from tinygen.optim import Adam
from tinygen.training import fit


def train(run):
    rng, layer, steps = run.rng(), Linear(1, 1, run.rng(1)), 0
    def loss(x, rng):
        nonlocal steps
        steps += 1
        if os.environ.get("INTERRUPT") == f"{run.seed} {steps}":
            os.kill(os.getpid(), signal.SIGINT)
        return ((layer(x) - 2 * x) * (layer(x) - 2 * x)).mean()
    x = rng.normal(size=(20, 1))
    fit(loss, layer, x, optimizer=Adam(layer.parameters(), 0.1), batch_size=10, rng=rng, **run.options())
    return {"w": layer.w.value.item(), "steps_of_this_process": steps}


def show(report):
    report.decide(Effect("w", report.values("w", "linear"), "", above=0))
    report.save_grid(np.zeros((1, 2, 2)), "grid.png")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore SIGINT
    study(train, show, ["linear"], steps=40, quick=2)
'''


def run(script: Path, folder: str, *arguments: str, interrupt: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)])}
    command = [sys.executable, str(script), "--out", folder, "--seeds", "3", *arguments]
    options = {"cwd": script.parent, "env": {**environment, "INTERRUPT": interrupt}}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "linear_example.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def results(script: Path, folder: str) -> dict[str, dict[str, float]]:
    return {path.stem.split("-")[1]: load(path) for path in (script.parent / folder / "runs").glob("*.npz")}


def test_interrupted_run_goes_on_and_ends_like_an_uninterrupted_one(script: Path) -> None:
    whole = run(script, "whole")
    assert whole.returncode == 0, whole.stderr
    assert "resumed" not in whole.stdout
    stopped = run(script, "parts", interrupt="1 25")
    assert stopped.returncode not in (0, -2)
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.strip().endswith("run the same command to go on")
    for name in ("grid.png", "table.txt", "metrics.json"):  # written after the first of the trainings
        assert (script.parent / "parts" / name).exists()
    rest = run(script, "parts", "--jobs", "2")  # seed 1 goes on while seed 2 starts
    assert rest.returncode == 0, rest.stderr
    assert "resumed: 1 of 3 trainings are done" in rest.stdout
    assert "linear, seed 1 resumes from its checkpoint" in rest.stdout
    ours, theirs = results(script, "parts"), results(script, "whole")
    assert {seed: each["w"] for seed, each in ours.items()} == {seed: each["w"] for seed, each in theirs.items()}
    assert [ours[seed]["steps_of_this_process"] for seed in "012"] == [40, 15, 40]
    assert "reproduced (95 % intervals, 3 seeds)\nw: " in rest.stdout
    assert not list((script.parent / "parts" / "runs").glob("*checkpoint*"))


def test_quick_draws_once_at_the_end(script: Path) -> None:
    script.write_text(EXAMPLE.replace("def show(report):", "def show(report):\n    print('drawn')"), "utf-8")
    assert run(script, "quick", "--quick").stdout.count("drawn") == 1
    assert run(script, "whole").stdout.count("drawn") >= 2  # after the first training and at the end


def test_other_code_or_steps_train_again_but_other_text_does_not(script: Path) -> None:
    before = fingerprint(script)
    script.write_text(EXAMPLE.replace("def show(report):", "def show(report):  # a comment\n    print()"), "utf-8")
    assert fingerprint(script) == before
    script.write_text(EXAMPLE.replace("0.1)", "0.2)"), "utf-8")
    assert fingerprint(script) != before


def report(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr(sys, "argv", ["example.py", *arguments])
    return Report(parse_arguments("Claim: a is\nlower than b.\n\nMore.", "example", ["a", "b"], [], 100, 5, 3))


def test_report_pairs_seeds_and_needs_both_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = report(monkeypatch=monkeypatch)
    for setting, seed, value in (("a", 0, 1.0), ("b", 0, 1.5), ("a", 1, 2.0), ("b", 1, 2.6), ("a", 2, 9.0)):
        ours.decide(Effect("gain", ours.difference("x", "b", "a"), "nats", above=0))
        ours.add(setting, seed, {"x": value})
    np.testing.assert_allclose(ours.difference("x", "b", "a"), [0.5, 0.6])
    ours.decide(Effect("gain", ours.difference("x", "b", "a"), "nats", above=0))
    assert ours.title(20).splitlines()[0] == "Claim: a is lower than b."
    assert "gain: 0.55 nats (-0.09 to 1.19; claimed: above 0)" in ours.title(20)


def test_report_is_undecided_until_all_effects_have_values(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = report(monkeypatch=monkeypatch)
    ours.decide(Effect("gain", [1.0, 1.1, 1.2], "nats", above=0), Effect("other gain", ours.values("x", "b"), "nats"))
    assert ours.verdict.startswith("undecided (97.5 % intervals, 3 seeds)")
    assert ours.verdict.endswith("other gain: not trained yet")


def test_quick_has_no_verdict_and_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = report("--quick", monkeypatch=monkeypatch)
    ours.decide(Effect("gain", [1.0, 1.1, 1.2], "nats", above=0))
    assert ours.decision is None
    assert ours.title(20) == "Claim: a is lower than b.\n--quick: means nothing"
    assert ours.args.out == Path("out/quick/example")
    assert (ours.args.steps, ours.args.seeds) == (5, 2)


@pytest.mark.parametrize(
    "arguments",
    [["--steps", "0"], ["--seeds", "0"], ["--seed", "-1"], ["--only", "c"], ["--jobs", "0"], ["--jobs", "2", "--mpi"]],
)
def test_wrong_arguments_are_rejected(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        report(*arguments, monkeypatch=monkeypatch)


def test_validation_curves_are_inside_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = report(monkeypatch=monkeypatch)
    ours.baselines = {"near": 70.0, "far": 4000.0}
    for seed in range(2):
        for setting, start in (("a", 900.0), ("b", 60.0)):
            ours.add(setting, seed, {"curve": np.array([[1, 2, 3], [start, start - 5, start - 6 - seed]], float)})
    axes = plot_validation_curves(ours, "curve").axes[0]
    low, high = axes.get_ylim()
    assert low < 53
    assert 900 < high < 4000
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)


def test_settings_whose_results_would_share_a_file_are_rejected(script: Path) -> None:
    script.write_text(EXAMPLE.replace('["linear"]', '["linear, ¼", "linear, ½"]'), "utf-8")
    done = run(script, "out")
    assert "settings: expected names that differ in their letters or digits" in done.stderr


def test_files_of_a_training_are_in_its_folder_and_not_those_of_another(tmp_path: Path) -> None:
    runs = tmp_path / "run.checkpoint" / "runs"
    runs.mkdir(parents=True)
    names = ("blind", "not-blind", "blind-spot")
    first, *others = (Training(n, 0, 5, False, runs / f"{n}-0-5-a.checkpoint.npz", tmp_path, True) for n in names)
    assert first.results == runs / "blind-0-5-a.npz"
    own = [first.checkpoint, first.part("vae").checkpoint]
    for path in [first.results, *own, *(each.checkpoint for each in others), *(each.results for each in others)]:
        path.write_text("")
    assert sorted(first.checkpoints()) == sorted(own)


def test_pictures_show_the_lowest_seed_that_is_done(tmp_path: Path) -> None:
    """With --jobs, or if a later seed was trained before, the first seed may be missing."""
    report = Report(argparse.Namespace(quick=False, seed=0, out=tmp_path, doc="Claim: none.\n", only=["a"]))
    report.add("a", 2, {"x": 2.0})
    report.add("a", 1, {"x": 1.0})
    assert report.first("x") == {"a": 1.0}
    report.add("a", 0, {"x": 0.0})
    assert report.first("x") == {"a": 0.0}


def test_a_folder_that_cannot_be_made_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, str(EXAMPLES / "made.py"), "--quick", "--out", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("--out: expected a folder that can be written, got")


def test_a_setting_that_is_given_twice_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x.py", "--only", "b", "b"])
    assert parse_arguments("Claim.", "x", ["a", "b"], [], 1, 1, 1).only == ["b"]
