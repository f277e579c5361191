"""What every example does around its model: arguments, a folder for what it makes, panels, a table, `metrics.json`."""

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
from tinygen.files import write_whole


def arguments(description: str, name: str, **choices: Sequence[str]) -> argparse.Namespace:
    """Parse --seed, --out, --quick and an option for each of the choices. `out` is a folder, made if it is missing."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the one random generator (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out") / name, help="folder for pictures and metrics.json")
    parser.add_argument("--quick", action="store_true", help="a few steps only: a smoke test, the numbers mean nothing")
    for option, values in choices.items():
        parser.add_argument(f"--{option}", choices=values, help="one of these only (default: all)")
    parsed = parser.parse_args()
    parsed.out.mkdir(parents=True, exist_ok=True)
    return parsed


def mean_nats(model: Any, *batch: Any) -> float:
    """Mean of −ln p in nats per example, of examples and what they are conditional on."""
    with no_grad():
        return float(-model.log_prob(*batch).value.mean())


def over_seeds(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Metrics of a number that each of several seeds has given: its mean and its standard deviation."""
    return {name: float(np.mean(values)), f"{name}_deviation": float(np.std(values, ddof=1))}


def curves_over_seeds(
    steps: ArrayLike, runs: Mapping[str, NDArray[np.float64]], yardsticks: Mapping[str, float], low: float, high: float
) -> Figure:
    """Nats per image that several seeds reach on held-out images, (seeds, steps) of each name: their mean and range.

    From low to high; of the yardsticks those that are between.
    """
    means = {name: each.mean(0) for name, each in runs.items()}
    label = f"held out (nats per image), mean and range of {len(next(iter(runs.values())))} seeds"
    between = {name: value for name, value in yardsticks.items() if low < value < high}
    figure = plot.curves({"step": steps, **means}, x="step", ylabel=label, yardsticks=between, ylim=(low, high))
    for each, colour in zip(runs.values(), plot.COLOURS, strict=False):
        figure.axes[0].fill_between(steps, each.min(0), each.max(0), color=colour, alpha=0.2, lw=0)
    return figure


def panels(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """Return a white figure, in inches, and its panels as `subplots` does, their frames open above and at the right."""
    figure = Figure(figsize=(width, height), dpi=plot.DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def report(out: Path, metrics: Mapping[str, float], yardsticks: Mapping[str, float], unit: str) -> None:
    """Print the metrics and, in their unit, the yardsticks beside them; write the metrics to `metrics.json`."""
    write_whole(out / "metrics.json", (json.dumps(dict(metrics), indent=2) + "\n").encode())
    rows = [(f"{name} ({unit})", value) for name, value in yardsticks.items()] + list(metrics.items())
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        shown = f"{value:>12,.2f}" if abs(value) >= 1 else f"{value:>14.4f}"  # a gap is a small number
        shown = f"{value:>9,}" if isinstance(value, int) else shown
        print(f"  {name:<{width}}  {shown}")
    print(f"\n  {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))} in {out}/")
