"""The command line: `info` prints what a file contains, `sample` writes pictures and arrays, errors are one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tinygen.__main__ import main
from tinygen.bijections import Dequantized
from tinygen.distributions import Gaussian
from tinygen.models import MADE, MAF, NICE, VAE, Glow
from tinygen.nn import Linear
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import SGD
from tinygen.training import fit, save_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tinygen.save(MADE((4, 4, 1), 3, np.random.default_rng(0), hidden=(8,)), tmp_path / "made.npz")
    return tmp_path / "made.npz"


def check_fails(message: str, capsys: pytest.CaptureFixture[str], *arguments: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_sample_writes_the_samples_of_the_model(path: Path, tmp_path: Path) -> None:
    main(["sample", str(path), "--n", "5", "--seed", "3", "--out", str(tmp_path / "x.npy")])
    expected = tinygen.load(path).sample(5, np.random.default_rng(3))  # type: ignore[attr-defined]
    assert np.array_equal(np.load(tmp_path / "x.npy"), expected)


def test_temperature_is_that_of_the_model(path: Path, tmp_path: Path) -> None:
    main(["sample", str(path), "--n", "5", "--temperature", "0.3", "--out", str(tmp_path / "x.npy")])
    expected = tinygen.load(path).sample(5, np.random.default_rng(0), temperature=0.3)  # type: ignore[attr-defined]
    assert np.array_equal(np.load(tmp_path / "x.npy"), expected)


def test_temperature_is_refused_by_models_without_one(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_fails("temperature: expected a positive number, got 0.0", capsys, "sample", path, "--temperature", 0)
    empty = ["--n", 0, "--temperature", -1, "--out", tmp_path / "x.npy"]
    check_fails("temperature: expected a positive number, got -1.0", capsys, "sample", path, *empty)
    tinygen.save(vae(np.random.default_rng(0)), tmp_path / "vae.npz")
    names = "FFJORD, IAF, MADE, MAF, NICE, Flow1D, GatedPixelCNN, Glow, PixelCNN, PixelRNN, RealNVP, WaveNet"
    message = f"--temperature: expected a model whose samples have a temperature ({names}), got VAE"
    check_fails(message, capsys, "sample", tmp_path / "vae.npz", "--temperature", 0.5)


def vae(rng: np.random.Generator) -> VAE:
    return VAE((4, 4, 1), 2, MLPEncoder((4, 4, 1), 4, rng), MLPDecoder(2, (4, 4, 1, 2), rng), Gaussian())


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: MADE((4, 4, 1), 2, rng, hidden=(8,), classes=3),
        lambda rng: MAF(2, rng, hidden=(4,), context=3),
        lambda rng: Glow((4, 4, 1), rng, scales=1, steps=1, hidden=4),
        vae,
        lambda rng: Dequantized(NICE((2,), rng, layers=3, hidden=4, context=3), 4),
    ],
    ids=["images of classes", "points of contexts", "real images", "images of a VAE", "levels of contexts"],
)
def test_sample_writes_a_picture(make: Any, tmp_path: Path) -> None:
    model = make(np.random.default_rng(0))
    tinygen.save(model, tmp_path / "model.npz")
    labels = [["--label", "2"], []] if isinstance(model, MADE | MAF | Dequantized) else [[]]
    for arguments in labels:
        out = tmp_path / "x.png"
        main(["sample", str(tmp_path / "model.npz"), "--n", "9", "--out", str(out), *arguments])
        assert out.read_bytes().startswith(b"\x89PNG")
        out.unlink()


def test_info_prints_settings_and_size(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "MADE"
    assert "  hidden = (8,)" in lines
    assert lines[-1] == f"written by tinygen {tinygen.__version__}"


def test_info_of_a_training_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer, path, rng = Linear(2, 1, np.random.default_rng(0)), tmp_path / "run.npz", np.random.default_rng(0)
    loss = lambda x, rng: (layer(x) * layer(x)).mean()
    sgd = SGD(layer.parameters(), 0.1)
    fit(loss, layer, np.ones((4, 2)), optimizer=sgd, batch_size=2, steps=3, rng=rng, checkpoint=path, progress=False)
    main(["info", str(path)])
    out = capsys.readouterr().out
    assert "training run at step 3\nlast record: step 3, epoch 1.5, loss " in out


def test_errors_are_one_line(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_fails("No such file", capsys, "info", tmp_path / "none.npz")
    message = "--label: expected none for a model without classes, got 0"
    check_fails(message, capsys, "sample", path, "--label", 0)
    check_fails("--seed: expected at least 0, got -1", capsys, "sample", path, "--seed", -1)
    check_fails("n: expected at least 0, got -1", capsys, "sample", path, "--n", -1, "--out", tmp_path / "x.npy")
    tinygen.save(MADE((2,), 2, np.random.default_rng(0), hidden=(4,), classes=3), tmp_path / "classes.npz")
    message = "--label: expected a class 0…2, got 3"
    check_fails(message, capsys, "sample", tmp_path / "classes.npz", "--label", 3)
    check_fails("No module named 'nothing_here'", capsys, "--import", "nothing_here", "info", path)
    save_checkpoint(path, Linear(2, 2, np.random.default_rng(0)))
    check_fails("a model with a method `sample`, got Linear", capsys, "sample", path)
    path.write_bytes(b"damaged")
    check_fails("not a complete tinygen checkpoint", capsys, "sample", path)


def test_an_unsuitable_file_is_refused_before_samples_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MADE, "sample", None)
    for shape, name, message in (
        ((2,), "x.pdf", "--out: expected a .png or .npy file in a folder that exists, got"),
        ((5,), "x.png", "--out: expected a .npy file for samples of shape (5,), got"),
        ((2, 2, 2), "x.png", "--out: expected a .npy file for samples of shape (2, 2, 2), got"),
    ):
        tinygen.save(MADE(shape, 2, np.random.default_rng(0), hidden=(4,)), tmp_path / "made.npz")
        check_fails(message, capsys, "sample", tmp_path / "made.npz", "--out", tmp_path / name)


def test_runs_as_a_module(path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tinygen", "info", str(path)], capture_output=True, text=True)
    assert done.stdout.startswith("MADE\n")
    assert done.stderr == ""


def test_no_picture_of_no_samples_and_no_file_in_a_missing_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tmp_path / "maf.npz")
    tinygen.save(MAF(2, np.random.default_rng(0), hidden=(4,)), model)
    for out, n, message in (
        ("x.png", "0", "--n: expected at least 1 sample for a picture, got 0"),
        ("nodir/x.npy", "3", "--out: expected a .png or .npy file in a folder that exists, got"),
    ):
        with pytest.raises(SystemExit):
            main(["sample", model, "--n", n, "--out", str(tmp_path / out)])
        assert message in capsys.readouterr().err
