"""Command-line arguments, figures and the final report that all examples share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tinygen import no_grad, plot
from tinygen.files import write_atomically


def parse_arguments(description: str, name: str, **choices: Sequence[str]) -> argparse.Namespace:
    """Parse --seed, --out, --quick and one option per entry of `choices`, and create the output folder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out") / name, help=f"output folder (default: out/{name})")
    parser.add_argument("--quick", action="store_true", help="smoke test of a few steps; the results are meaningless")
    for option, values in choices.items():
        parser.add_argument(f"--{option}", choices=values, help="run only this one (default: all)")
    parsed = parser.parse_args()
    parsed.out.mkdir(parents=True, exist_ok=True)
    return parsed


def mean_nll(model: Any, *batch: Any) -> float:
    """Return the mean negative log-likelihood in nats per example. `batch`: the examples, then labels if any."""
    with no_grad():
        return float(-model.log_prob(*batch).value.mean())


def mean_and_std(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Return two metrics: the mean and the standard deviation of a result over seeds."""
    return {name: float(np.mean(values)), f"{name}_deviation": float(np.std(values, ddof=1))}


def plot_validation_curves(
    steps: ArrayLike, runs: Mapping[str, NDArray[np.float64]], baselines: Mapping[str, float], ylim: tuple[float, float]
) -> Figure:
    """Plot the validation loss of several models: the mean over seeds as a line, the range over seeds as a band.

    Args:
        steps: (T,), the steps at which the models were validated.
        runs: name of a model → losses (seeds, T) in nats per image.
        baselines: drawn as horizontal lines, if they are within `ylim`.
    """
    means = {name: losses.mean(0) for name, losses in runs.items()}
    title = f"mean and range over {len(next(iter(runs.values())))} seeds"
    visible = {name: value for name, value in baselines.items() if ylim[0] < value < ylim[1]}
    labels: dict[str, Any] = {"x": "step", "ylabel": "validation loss (nats per image)", "title": title}
    figure = plot.curves({"step": steps, **means}, baselines=visible, ylim=ylim, **labels)
    for losses, colour in zip(runs.values(), plot.COLOURS, strict=False):
        figure.axes[0].fill_between(steps, losses.min(0), losses.max(0), color=colour, alpha=0.2, lw=0)
    return figure


def subplots(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """Return a white figure of the given size in inches and its axes, without the top and right spines."""
    figure = Figure(figsize=(width, height), dpi=plot.DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def report(out: Path, metrics: Mapping[str, float], baselines: Mapping[str, float], unit: str) -> None:
    """Print the baselines (in `unit`) and the metrics as a table; write the metrics to out/metrics.json."""
    write_atomically(out / "metrics.json", (json.dumps(dict(metrics), indent=2) + "\n").encode())
    rows = [(f"{name} ({unit})", value) for name, value in baselines.items()] + list(metrics.items())
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        shown = f"{value:>12,.2f}" if abs(value) >= 1 else f"{value:>14.4f}"  # more digits for small numbers
        shown = f"{value:>9,}" if isinstance(value, int) else shown
        print(f"  {name:<{width}}  {shown}")
    print(f"\n  Files in {out}/: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}")
