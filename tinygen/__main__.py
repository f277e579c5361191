"""The command line: `python -m tinygen info model.npz`, and `python -m tinygen sample model.npz --out samples.png`.

Checked by: tests/test_main.py
"""

import argparse
import importlib
import inspect
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import models, plot
from .autograd import Array
from .checks import check_file, require
from .files import write_atomically
from .recorded import settings
from .saving import load
from .training import Record
from .training.callbacks import draw, numbers
from .training.checkpoint import read_checkpoint


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m tinygen", description="Inspect a saved model or draw samples from it.")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE",
                        help="import a module that registers classes or functions of yours")  # fmt: skip
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("info", help="print what is in the file")
    command.set_defaults(run=info)
    command.add_argument("file")
    command = commands.add_parser("sample", help="draw samples into a .png or .npy file")
    command.set_defaults(run=sample)
    command.add_argument("file")
    command.add_argument("--n", type=int, default=64, help="number of samples (default: 64)")
    command.add_argument("--seed", type=int, default=0, help="seed of the random generator (default: 0)")
    command.add_argument("--label", type=int, help="class of a conditional model; by default all in turn")
    command.add_argument("--temperature", type=float, help="below 1 for more probable samples (default: 1)")
    command.add_argument("--out", default="samples.png", help="a .png or .npy file (default: samples.png)")
    options = vars(parser.parse_args(arguments))
    run = options.pop("run")
    try:
        for module in options.pop("modules"):
            importlib.import_module(module)
        run(**options)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"tinygen: {error}\n")


def info(file: str) -> None:
    """Print the model's class and settings, the number of parameters, and the state of a training run."""
    groups, header = read_checkpoint(file)
    name, *lines = settings(header.get("model", {"unknown": "written before tinygen recorded models"})).items()
    print(name[1])
    for path, text in lines:
        print(f"  {path} = {text if len(text) <= 60 else text[:59] + '…'}")
    arrays = groups.get(header.get("result", "module"), {})
    print(f"{sum(array.size for array in arrays.values()):,} numbers in {len(arrays)} arrays")
    print(f"written by tinygen {header.get('version', '0.1.0')}")
    if "step" in header:
        print(f"training run at step {header['step']:,}")
        for record in (header.get("end") or header)["records"][-1:]:
            row = numbers(Record.from_json(record)).items()
            print("last record: " + ", ".join(f"{key} {value:.6g}" for key, value in row if value is not None))


def sample(file: str, n: int, seed: int, label: int | None, temperature: float | None, out: str) -> None:
    """Write samples as an array, or as a picture: a grid of images, or points in the plane."""
    model: Any = load(file)
    require(hasattr(model, "sample"), file, "a model with a method `sample`", type(model).__name__)
    kinds, options = getattr(model, "classes", 0) or getattr(model, "context", 0) or 0, dict[str, Any]()
    expected = f"a class 0…{kinds - 1}" if kinds else "none for a model without classes"
    require(label is None or label in range(kinds), "--label", expected, label)
    require(seed >= 0, "--seed", "at least 0", seed)
    if temperature is not None:
        others = ", ".join(name for name in models.__all__ if has_temperature(getattr(models, name)))
        expected = f"a model whose samples have a temperature ({others})"
        require(has_temperature(type(model)), "--temperature", expected, type(model).__name__)
        options["temperature"] = temperature
    check_file("--out", out, ".png", ".npy")
    is_array, shape = Path(out).suffix.lower() == ".npy", tuple(getattr(model, "shape", (2,)))
    fits = is_array or shape == (2,) or (len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,)))
    require(fits, "--out", f"a .npy file for samples of shape {shape}", out)
    require(is_array or n > 0, "--n", "at least 1 sample for a picture", n)
    x, levels = draw(model, n, np.random.default_rng(seed), label, **options)
    if is_array:
        content = io.BytesIO()
        np.save(content, x)
        write_atomically(out, content.getvalue())
    else:
        plot.save(picture(x, levels), out)
    print(f"{n} samples of shape {x.shape[1:]} in {out}", file=sys.stderr)


def has_temperature(model: Any) -> bool:
    """Return whether `sample` of a class of models takes a temperature."""
    return "temperature" in inspect.signature(model.sample).parameters


def picture(x: Array, levels: int | None) -> Any:
    """Plot images (n, H, W, 1 or 3) or points (n, 2). Real-valued pixels are scaled to the range of the samples."""
    if x.ndim == 2 and x.shape[1] == 2:
        return plot.points(x)
    if levels is None:
        x, levels = (x - x.min()) / max(np.ptp(x), 1e-300), 2
    return plot.sample_grid(x, levels=levels)


if __name__ == "__main__":
    main()
