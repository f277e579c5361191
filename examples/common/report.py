"""What an example has found so far: results per setting and seed, the verdict, the table and the pictures."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from common.claims import Decision, Effect, decide
from common.table import metrics, table
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from tinygen import plot
from tinygen.files import write_atomically

MEANINGLESS = "--quick: means nothing"


class Report:
    """Results of an example. `show` reads them, calls `decide`, and saves pictures."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.quick, self.seed = args, bool(args.quick), int(args.seed)
        self.claim = " ".join(args.doc.split("\n\n")[0].removeprefix("Claim: ").split())
        self.results: dict[str, dict[int, dict[str, Any]]] = {}  # setting → seed → name → value
        self.baselines: Mapping[str, float] = {}
        self.decision: Decision | None = None
        self.remarks: list[str] = []
        self.unit = ""  # of the numbers in the table
        self.text = ""

    def add(self, setting: str, seed: int, results: dict[str, Any]) -> None:
        self.results.setdefault(setting, {})[seed] = results

    def values(self, name: str, setting: str) -> NDArray[np.float64]:
        """Return a result for each seed so far, (seeds, …)."""
        return np.array([each[name] for each in self.results.get(setting, {}).values()])

    def difference(self, name: str, first: str, second: str) -> NDArray[np.float64]:
        """Return result(first) − result(second) for each seed that both were trained with, (seeds,)."""
        a, b = self.results.get(first, {}), self.results.get(second, {})
        return np.array([a[seed][name] - b[seed][name] for seed in a if seed in b])

    def first(self, name: str) -> dict[str, Any]:
        """Return a result of the lowest seed so far for every setting."""
        return {setting: runs[min(runs)][name] for setting, runs in self.results.items()}

    def decide(self, *effects: Effect, also: Sequence[Effect] = ()) -> None:
        """Decide the claim from all of its effects, also those without values yet. With --quick there is no verdict."""
        known = any(np.size(effect.values) for effect in effects)
        self.decision = decide(*effects) if known and not self.quick else None
        self.remarks = [effect.describe() for effect in also if np.size(effect.values) and not self.quick]

    @property
    def verdict(self) -> str:
        """The verdict, the effects that it follows from, and others with 95 % intervals; one per line."""
        if self.decision is None:
            return MEANINGLESS if self.quick else "undecided: the models to compare are not trained yet"
        return "\n".join([str(self.decision), *(f"besides (95 % interval), {remark}" for remark in self.remarks)])

    def title(self, width: float) -> str:
        """Return the claim and the verdict with its numbers, wrapped to a width in inches."""
        verdict = self.verdict.splitlines()
        rest = [f"and {len(verdict) - 5} more effects, see table.txt"] if len(verdict) > 6 else verdict[5:]
        lines = [f"Claim: {self.claim}", *verdict[:5], *rest]
        return "\n".join("\n".join(textwrap.wrap(line, max(30, int(width * 14)))) for line in lines)

    def save(self, figure: Figure, name: str) -> None:
        """Write a figure, with the claim and the verdict above it."""
        width, height = figure.get_size_inches()
        title = self.title(width)
        figure.set_size_inches(width, height + 0.17 * (1 + title.count("\n")))  # room for the title
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=plot.INK)
        self._write(figure, name)

    def save_grid(self, images: ArrayLike, name: str, caption: str = "", **options: Any) -> None:
        """Write a grid of images (see `plot.sample_grid`), with the claim, the verdict and a caption above it."""
        title = self.title(6.0) + (f"\n{caption}" if caption else "")
        self._write(plot.sample_grid(images, title=title, **options), name)

    def _write(self, figure: Figure, name: str) -> None:
        if self.quick:
            options: dict[str, Any] = {"rotation": 20, "ha": "center", "va": "center", "color": "red", "alpha": 0.6}
            outline = [withStroke(linewidth=2, foreground="white")]  # visible on dark and coloured pictures, too
            size = 5 * figure.get_size_inches()[0] ** 0.8
            figure.text(0.5, 0.5, MEANINGLESS, fontsize=size, path_effects=outline, **options)
        plot.save(figure, self.args.out / name)

    def write(self, show: Callable[[Report], None]) -> None:
        """Call `show`, then write the table and metrics.json."""
        show(self)
        self.text = table(self)
        write_atomically(self.args.out / "metrics.json", (json.dumps(metrics(self), indent=2) + "\n").encode())
        write_atomically(self.args.out / "table.txt", (self.text + "\n").encode())
